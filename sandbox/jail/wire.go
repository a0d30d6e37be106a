package jail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// The control protocol: one JSON object per packet of a SOCK_SEQPACKET pair,
// file descriptors beside it. Every request has an id and gets exactly one
// reply, in any order, so that a program that runs for a minute delays nobody.
// Requests begin in the order in which they were sent. Programs are handed their
// stdio as descriptors; a terminal's are asked for first.

const (
	maxPacket = 64 << 10
	maxFDs    = 8
)

type request struct {
	ID      uint64        `json:"id"`
	Op      string        `json:"op"`
	Name    string        `json:"name,omitempty"`
	Box     *boxPlan      `json:"box,omitempty"`
	Machine *mcPlan       `json:"machine,omitempty"`
	Program *program      `json:"program,omitempty"`
	Size    *unix.Winsize `json:"size,omitempty"`
	Target  uint64        `json:"target,omitempty"` // the request that is meant
}

type reply struct {
	ID    uint64 `json:"id"`
	Error string `json:"error,omitempty"`
	Errno int    `json:"errno,omitempty"`
	Code  int    `json:"code,omitempty"`
}

// failed is the reply that carries err across; its errno survives the way.
func failed(err error) reply {
	if err == nil {
		return reply{}
	}
	r := reply{Error: err.Error()}
	var errno unix.Errno
	if errors.As(err, &errno) {
		r.Errno = int(errno)
	}
	return r
}

func (r reply) err() error {
	switch {
	case r.Errno != 0:
		return &initError{r.Error, unix.Errno(r.Errno)}
	case r.Error != "":
		return errors.New(r.Error)
	}
	return nil
}

// initError is an error that happened in an init: its words and its errno.
type initError struct {
	text  string
	errno unix.Errno
}

func (e *initError) Error() string { return e.text }
func (e *initError) Unwrap() error { return e.errno }

// conn is one end of a control socket. It waits in the runtime's poller, so that
// a thousand of them need no thousand threads.
type conn struct {
	file *os.File
	raw  syscall.RawConn
}

func newConn(fd int) (*conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "control")
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &conn{f, raw}, nil
}

// controlPair makes a socket pair: our end, and the one to hand to an init.
func controlPair() (*conn, *os.File, error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(p[1]), "control")
	c, err := newConn(p[0])
	if err != nil {
		theirs.Close()
		return nil, nil, errors.Join(err, unix.Close(p[0]))
	}
	return c, theirs, nil
}

func (c *conn) send(v any, fds ...int) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxPacket {
		return fmt.Errorf("a message of %d bytes: %w", len(b), unix.E2BIG)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	var sendErr error
	err = c.raw.Write(func(fd uintptr) bool {
		sendErr = retry(func() error { return unix.Sendmsg(int(fd), b, rights, nil, unix.MSG_NOSIGNAL) })
		return sendErr != unix.EAGAIN
	})
	return errors.Join(err, sendErr)
}

// receive believes nothing of its peer: size and descriptors are bounded, a
// packet cut short is an error. It asks for the size before it takes a buffer:
// there are many connections, idle nearly always.
func (c *conn) receive(v any) (fds []int, err error) {
	size, _, _, err := c.recvmsg(nil, nil, unix.MSG_PEEK|unix.MSG_TRUNC)
	if err != nil {
		return nil, err
	}
	if size > maxPacket {
		return nil, fmt.Errorf("a control message of %d bytes: %w", size, unix.E2BIG)
	}
	buf := make([]byte, size)
	oob := make([]byte, unix.CmsgSpace(4*maxFDs))
	n, oobn, flags, err := c.recvmsg(buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if oobn > 0 {
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			if got, err := unix.ParseUnixRights(&m); err == nil {
				fds = append(fds, got...)
			}
		}
	}
	switch {
	case n == 0:
		err = ErrGone
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("a control message was cut short")
	default:
		err = json.Unmarshal(buf[:n], v)
	}
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	return fds, nil
}

func (c *conn) recvmsg(buf, oob []byte, flags int) (n, oobn, gotFlags int, err error) {
	var recvErr error
	err = c.raw.Read(func(fd uintptr) bool {
		recvErr = retry(func() (err error) {
			n, oobn, gotFlags, _, err = unix.Recvmsg(int(fd), buf, oob, flags)
			return err
		})
		return recvErr != unix.EAGAIN
	})
	return n, oobn, gotFlags, errors.Join(err, recvErr)
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// caller is the yard's side of a control socket.
type caller struct {
	conn *conn
	done chan struct{} // closed when the reading goroutine has ended

	mu      sync.Mutex
	lastID  uint64
	gone    bool
	pending map[uint64]chan answer
}

type answer struct {
	reply reply
	fds   []int
	err   error
}

func newCaller(c *conn) *caller {
	k := &caller{conn: c, done: make(chan struct{}), pending: map[uint64]chan answer{}}
	go k.read()
	return k
}

// read hands replies to whoever waits for them, until the socket closes.
func (k *caller) read() {
	defer close(k.done)
	for {
		var r reply
		fds, err := k.conn.receive(&r)
		if err != nil {
			break
		}
		k.mu.Lock()
		waiting := k.pending[r.ID]
		delete(k.pending, r.ID)
		if waiting != nil {
			waiting <- answer{reply: r, fds: fds} // never blocks: it has room for the one answer
		}
		k.mu.Unlock()
		if waiting == nil { // nobody waits any more
			closeAll(fds)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone = true
	for _, waiting := range k.pending {
		waiting <- answer{err: ErrGone}
	}
	clear(k.pending)
}

// begin sends a request; its answer will come on the channel.
func (k *caller) begin(r request, fds ...int) (uint64, <-chan answer, error) {
	waiting := make(chan answer, 1)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		return 0, nil, ErrGone
	}
	k.lastID++
	r.ID = k.lastID
	k.pending[r.ID] = waiting
	if err := k.conn.send(r, fds...); err != nil {
		delete(k.pending, r.ID)
		if errors.Is(err, unix.EPIPE) || errors.Is(err, os.ErrClosed) {
			err = ErrGone
		}
		return 0, nil, err
	}
	return r.ID, waiting, nil
}

// call sends a request and waits. The descriptors that come back are the
// caller's to close; if the context ends first, they are closed on arrival.
func (k *caller) call(ctx context.Context, r request, fds ...int) ([]int, error) {
	id, waiting, err := k.begin(r, fds...)
	if err != nil {
		return nil, err
	}
	select {
	case a := <-waiting:
		return a.fds, errors.Join(a.err, a.reply.err())
	case <-ctx.Done():
	}
	k.mu.Lock()
	delete(k.pending, id)
	k.mu.Unlock()
	select { // it came just before
	case a := <-waiting:
		closeAll(a.fds)
	default:
	}
	return nil, ctx.Err()
}

// close ends the conversation, and with it the init at the other end.
func (k *caller) close() {
	k.conn.file.Close()
	<-k.done
}

// serve is an init's side. begin is called in the order of the requests and must
// not block; the function that it returns can, but the request's descriptors are
// closed by then. serve returns when the yard is gone.
func serve(c *conn, begin func(r request, fds []int) (finish func() (reply, []int))) {
	for {
		var r request
		fds, err := c.receive(&r)
		if err != nil {
			return
		}
		finish := begin(r, fds)
		closeAll(fds)
		go func() {
			answer, out := finish()
			answer.ID = r.ID
			_ = c.send(answer, out...) // an error means that the yard is gone: receive sees it too
			closeAll(out)
		}()
	}
}
