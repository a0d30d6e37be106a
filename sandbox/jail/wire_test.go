package jail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pair is two connected ends, the second one raw.
func pair(t testing.TB) (*conn, int) {
	t.Helper()
	c, theirs, err := controlPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.file.Close(); theirs.Close() })
	return c, int(theirs.Fd())
}

func TestAMessageThatIsNotOneIsAnError(t *testing.T) {
	for what, send := range map[string]func(fd int) error{
		"not JSON":     func(fd int) error { return unix.Sendmsg(fd, []byte("hello"), nil, nil, 0) },
		"too long":     func(fd int) error { return unix.Sendmsg(fd, make([]byte, maxPacket+1), nil, nil, 0) },
		"another type": func(fd int) error { return unix.Sendmsg(fd, []byte(`{"id":"x"}`), nil, nil, 0) },
		"too many descriptors": func(fd int) error {
			fds := make([]int, maxFDs+1)
			return unix.Sendmsg(fd, []byte(`{"id":1}`), unix.UnixRights(fds...), nil, 0)
		},
		"the end": func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) },
	} {
		c, fd := pair(t)
		before := len(openFDs(t))
		if err := send(fd); err != nil {
			t.Fatal(err)
		}
		var r reply
		if fds, err := c.receive(&r); err == nil || fds != nil {
			t.Errorf("%s: taken as %+v with %v", what, r, fds)
		}
		if now := len(openFDs(t)); now != before {
			t.Errorf("%s: descriptors are left open", what)
		}
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte(`{"id":1,"op":"run","program":{"argv":["true"]}}`))
	f.Add([]byte(`{"id":1,"errno":17,"error":"exists"}`))
	f.Add([]byte("{"))
	c, fd := pair(f)
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) == 0 || len(packet) > maxPacket { // an empty one is the end
			return
		}
		if err := unix.Sendmsg(fd, packet, nil, nil, 0); err != nil {
			t.Fatal(err)
		}
		var r request
		if _, err := c.receive(&r); err == nil && !json.Valid(packet) {
			t.Errorf("%q is taken", packet)
		}
	})
}

func TestAnErrorKeepsItsErrnoOnTheWay(t *testing.T) {
	for _, err := range []error{nil, unix.EEXIST, fmt.Errorf("mount: %w", unix.EPERM), errors.New("no number")} {
		b, _ := json.Marshal(failed(err))
		var r reply
		if jsonErr := json.Unmarshal(b, &r); jsonErr != nil {
			t.Fatal(jsonErr)
		}
		got := r.err()
		var was, is unix.Errno
		errors.As(err, &was)
		errors.As(got, &is)
		if was != is || (err == nil) != (got == nil) || err != nil && got.Error() != err.Error() {
			t.Errorf("%v became %v", err, got)
		}
	}
}

func TestAnswersComeInAnyOrderAndLate(t *testing.T) {
	ours, fd := pair(t)
	theirs, err := newConn(fd)
	if err != nil {
		t.Fatal(err)
	}
	k := newCaller(ours)
	_, first, err1 := k.begin(request{Op: "first"})
	_, second, err2 := k.begin(request{Op: "second"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err3 := k.call(ctx, request{Op: "given up"})
	if err := errors.Join(err1, err2); err != nil || !errors.Is(err3, context.Canceled) {
		t.Fatal(err, err3)
	}
	var asked []request
	for range 3 {
		var r request
		if _, err := theirs.receive(&r); err != nil {
			t.Fatal(err)
		}
		asked = append(asked, r)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// To the one who has given up a descriptor comes, to nobody another one.
	for _, id := range []uint64{asked[2].ID, 999} {
		if err := theirs.send(reply{ID: id}, int(w.Fd())); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	if err := errors.Join(theirs.send(reply{ID: asked[1].ID, Code: 2}), theirs.send(reply{ID: asked[0].ID, Code: 1})); err != nil {
		t.Fatal(err)
	}
	if a, b := <-first, <-second; a.reply.Code != 1 || b.reply.Code != 2 {
		t.Errorf("got %+v and %+v", a, b)
	}
	if _, err := io.ReadAll(r); err != nil { // ends only if both are closed
		t.Error(err)
	}
	r.Close()
	theirs.file.Close()
	if _, err := k.call(deadline(t), request{Op: "late"}); !errors.Is(err, ErrGone) {
		t.Errorf("the other end is gone: %v", err)
	}
	k.close()
}

func TestAMessageThatIsTooLongIsNotSent(t *testing.T) {
	c, _ := pair(t)
	if err := c.send(request{Name: strings.Repeat("x", maxPacket)}); !errors.Is(err, unix.E2BIG) {
		t.Errorf("got %v", err)
	}
}
