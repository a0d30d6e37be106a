package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// home is a descriptor of the network namespace that this process lives in.
type home int

func openHome() (home, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open own network namespace: %w", err)
	}
	return home(fd), nil
}

// inside runs f on a thread that is in the namespace ns. What f opens or forks
// belongs to ns.
func (h home) inside(ns int, f func() error) error {
	return h.visit(func(enter func(int) error) error {
		if err := enter(ns); err != nil {
			return err
		}
		return f()
	})
}

// visit runs f on a thread of its own, which f moves from namespace to namespace.
// A thread that can't come home is never used again: the goroutine ends while
// locked to it, so the runtime destroys it.
func (h home) visit(f func(enter func(ns int) error) error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := f(func(ns int) error {
			if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter network namespace: %w", err)
			}
			return nil
		})
		if unix.Setns(int(h), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// conn is a netlink socket in one namespace. It pins that namespace, so nothing
// keeps one longer than an Apply or a read takes. Messages are nl's; the
// transport is ours because nl allocates 64 KiB for every datagram and hides
// the kernel's own words of an error.
type conn struct {
	fd  int
	buf []byte
	// limit is how many entries a dump reads; 0 is no limit. A dump that is cut
	// short leaves the rest in the socket, so with a limit a conn must be used on
	// a thread in its namespace, where it can be opened anew.
	limit int
}

// tableLimit bounds what is read of one table: a learner can fill it with what
// fits into a world's memory, and we would have to carry it to every watcher.
const tableLimit = 4096

// receiveSize is what the kernel fills at most in one datagram of a dump.
const receiveSize = 32 << 10

// dial opens a netlink socket in the namespace ns. buf is the room for answers,
// shared by the conns of one goroutine.
func (h home) dial(ns, protocol int, buf []byte) (c *conn, err error) {
	err = h.inside(ns, func() error {
		c, err = socket(protocol, buf)
		return err
	})
	return c, err
}

// socket opens a netlink socket in the calling thread's namespace.
func socket(protocol int, buf []byte) (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("set netlink option: %w", err)
		}
	}
	return &conn{fd: fd, buf: buf}, nil
}

func (c *conn) close() { unix.Close(c.fd) }

// index finds an interface by its name, 0 if there is none. An ioctl asks it of
// any socket of the namespace at a tenth of the cost of RTM_GETLINK.
func (c *conn) index(name string) uint32 {
	ifr, err := unix.NewIfreq(name)
	if err != nil || unix.IoctlIfreq(c.fd, unix.SIOCGIFINDEX, ifr) != nil {
		return 0
	}
	return ifr.Uint32()
}

// do sends one change and waits for the kernel's verdict.
func (c *conn) do(req *nl.NetlinkRequest) error {
	req.Flags |= unix.NLM_F_ACK
	_, err := c.exchange(req, nil)
	return err
}

// dump asks for a whole table. A table that changed meanwhile is read again.
func (c *conn) dump(req *nl.NetlinkRequest, reset func(), each func(body []byte)) error {
	req.Flags |= unix.NLM_F_DUMP
	for range 10 {
		reset()
		n := 0
		torn, err := c.exchange(req, func(_ uint16, body []byte) error {
			if n++; c.limit > 0 && n > c.limit {
				return errFull
			}
			each(body)
			return nil
		})
		if err == errFull {
			return c.renew()
		}
		if err != nil || !torn {
			return err
		}
	}
	return nil // it changes faster than one can read; an event brings us back
}

var errFull = errors.New("the table is longer than its limit")

// renew opens the socket anew, in the calling thread's namespace.
func (c *conn) renew() error {
	protocol, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return fmt.Errorf("renew netlink socket: %w", err)
	}
	again, err := socket(protocol, c.buf)
	if err != nil {
		return err
	}
	c.close()
	c.fd = again.fd
	return nil
}

// exchange sends req and hands every answer to each, until the last, or until
// each has an error. torn is set when the kernel says that a dump is inconsistent.
func (c *conn) exchange(req *nl.NetlinkRequest, each func(kind uint16, body []byte) error) (torn bool, err error) {
	if err := unix.Sendto(c.fd, req.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false, fmt.Errorf("send netlink request: %w", err)
	}
	for {
		n, _, err := unix.Recvfrom(c.fd, c.buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("receive netlink answer: %w", err)
		}
		last := false
		err = messages(c.buf[:n], func(h nlmsg, body []byte) error {
			if h.seq != req.Seq {
				return nil
			}
			torn = torn || h.flags&unix.NLM_F_DUMP_INTR != 0
			switch h.kind {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				last = true
				return verdict(h, body)
			}
			if each != nil {
				if err := each(h.kind, body); err != nil {
					return err
				}
			}
			if h.flags&unix.NLM_F_MULTI == 0 && req.Flags&unix.NLM_F_ACK == 0 {
				last = true
			}
			return nil
		})
		if err != nil || last {
			return torn, err
		}
	}
}

// nlmsg is the header of one netlink message.
type nlmsg struct {
	kind, flags uint16
	seq         uint32
}

// messages splits a datagram.
func messages(b []byte, each func(nlmsg, []byte) error) error {
	for len(b) >= unix.NLMSG_HDRLEN {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.NLMSG_HDRLEN || size > len(b) {
			return fmt.Errorf("netlink message of %d bytes in a datagram of %d", size, len(b))
		}
		h := nlmsg{binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]), binary.NativeEndian.Uint32(b[8:])}
		if err := each(h, b[unix.NLMSG_HDRLEN:size]); err != nil {
			return err
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return nil
}

// verdict is the error of a NLMSG_ERROR or NLMSG_DONE message, with the
// kernel's own words where it has some.
func verdict(h nlmsg, body []byte) error {
	if len(body) < 4 {
		return nil
	}
	code := int32(binary.NativeEndian.Uint32(body))
	if code >= 0 {
		return nil
	}
	f := &fault{errno: unix.Errno(-code)}
	tail := 4
	if h.kind == unix.NLMSG_ERROR {
		tail += unix.NLMSG_HDRLEN // the capped echo of the request
	}
	if h.flags&unix.NLM_F_ACK_TLVS != 0 && len(body) > tail {
		attributes(body[tail:], func(t uint16, v []byte) {
			if t == unix.NLMSGERR_ATTR_MSG {
				f.words = unix.ByteSliceToString(v)
			}
		})
	}
	return f
}

// lacking says whether err means that this kernel is built without what was
// asked: nf_tables, socket diagnosis.
func lacking(err error) bool {
	for _, errno := range []unix.Errno{unix.EPROTONOSUPPORT, unix.EOPNOTSUPP, unix.EINVAL, unix.ENOENT} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// fault is what the kernel, or the tool whose place an op takes, says when it
// refuses.
type fault struct {
	errno unix.Errno
	words string
}

func faultf(errno unix.Errno, format string, a ...any) error {
	return &fault{errno, fmt.Sprintf(format, a...)}
}

func (f *fault) Error() string {
	if f.words != "" {
		return f.words
	}
	return words(f.errno)
}

func (f *fault) Unwrap() error {
	if f.errno == 0 {
		return nil
	}
	return f.errno
}

// words spells an errno as perror does.
func words(e unix.Errno) string {
	s := e.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}

// attributes calls each for every attribute; the flags in the type are cut off.
func attributes(b []byte, each func(kind uint16, value []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			return
		}
		each(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:size])
		b = b[min(len(b), (size+3)&^3):]
	}
}

func u32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

func attrU32(kind int, v uint32) *nl.RtAttr { return nl.NewRtAttr(kind, nl.Uint32Attr(v)) }

func attrString(kind int, v string) *nl.RtAttr { return nl.NewRtAttr(kind, nl.ZeroTerminated(v)) }

func attrAddr(kind int, a netip.Addr) *nl.RtAttr { return nl.NewRtAttr(kind, a.AsSlice()) }

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// address reads an attribute of 4 or 16 bytes; invalid for anything else.
func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// request builds a message out of its parts.
func request(kind, flags int, parts ...nl.NetlinkRequestData) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	for _, p := range parts {
		req.AddData(p)
	}
	return req
}

// settle makes the kernel act at once on the carrier of an interface that went
// up or down, on its veth peer's and on their masters'. It would do so by itself
// within a second (linkwatch), and until then drops what is sent; asking for one
// link, unlike a dump, does not let it wait.
func (c *conn) settle(index uint32) {
	type link struct {
		index uint32
		nsid  int32 // as this namespace calls the link's; -1: this one
	}
	seen := map[link]bool{}
	for todo := []link{{index, -1}}; len(todo) > 0; todo = todo[1:] {
		at := todo[0]
		if at.index == 0 || seen[at] {
			continue
		}
		seen[at] = true
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(at.index)
		req := request(unix.RTM_GETLINK, 0, msg, attrU32(unix.IFLA_EXT_MASK, extSkipStats))
		if at.nsid >= 0 {
			req.AddData(attrU32(unix.IFLA_TARGET_NETNSID, uint32(at.nsid)))
		}
		var master uint32
		peer := link{nsid: -1}
		_, err := c.exchange(req, func(_ uint16, b []byte) error {
			attributes(b[min(len(b), unix.SizeofIfInfomsg):], func(t uint16, v []byte) {
				switch t {
				case unix.IFLA_MASTER:
					master = u32(v)
				case unix.IFLA_LINK:
					peer.index = u32(v)
				case unix.IFLA_LINK_NETNSID:
					peer.nsid = int32(u32(v))
				}
			})
			return nil
		})
		if err != nil {
			return // it is gone again, or nothing that we may look at
		}
		todo = append(todo, link{master, at.nsid})
		if at.nsid < 0 {
			todo = append(todo, peer)
		}
	}
}
