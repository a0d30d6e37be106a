package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kabel/sandbox/host"
)

// conntrack hears of the connections of one namespace whose addresses are
// translated. It pins the namespace.
type conntrack struct {
	file *os.File
	wake syscall.RawConn
	ask  *conn
	buf  []byte
}

// The messages and attributes of ctnetlink that we read,
// linux/netfilter/nfnetlink_conntrack.h.
const (
	ctNew    = unix.NFNL_SUBSYS_CTNETLINK << 8
	ctGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	ctDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2
	ctStats  = unix.NFNL_SUBSYS_CTNETLINK<<8 | 5

	ctaTupleOrig, ctaTupleReply   = 1, 2
	ctaTupleIP, ctaTupleProto     = 1, 2
	ctaIPv4Src, ctaIPv4Dst        = 1, 2
	ctaIPv6Src, ctaIPv6Dst        = 3, 4
	ctaProtoNum                   = 1
	ctaProtoSrcPort, ctaProtoDest = 2, 3
	ctaProtoICMPID, ctaICMPv6ID   = 4, 7
	ctaStatsEntries               = 1
	sizeofNfgenmsg                = 4
	// conntrackBuffer is what the kernel may keep for us of a burst.
	conntrackBuffer = 1 << 20
	// flowLimit bounds what is told of the connections that are there already.
	flowLimit = 4096
)

// openConntrack opens one in the calling thread's namespace; nil if the kernel
// lacks it.
func openConntrack() (_ *conntrack, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		if lacking(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("open conntrack socket: %w", err)
	}
	c := &conntrack{file: os.NewFile(uintptr(fd), "conntrack"), buf: make([]byte, receiveSize)}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	// The force needs rights over the machine; without them the kernel's bound holds.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, conntrackBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, conntrackBuffer) // smaller is worse, not wrong
	}
	if err := join(fd, unix.NFNLGRP_CONNTRACK_NEW, unix.NFNLGRP_CONNTRACK_DESTROY); err != nil {
		return c, err
	}
	if c.wake, err = c.file.SyscallConn(); err != nil {
		return c, fmt.Errorf("poll conntrack socket: %w", err)
	}
	c.ask, err = socket(unix.NETLINK_NETFILTER, make([]byte, receiveSize))
	return c, err
}

func (c *conntrack) close() {
	_ = c.file.Close() // of a socket that nobody writes to
	if c.ask != nil {
		c.ask.close()
	}
}

// interrupt ends wait for good.
func (c *conntrack) interrupt() {
	_ = c.file.SetReadDeadline(time.Unix(1, 0)) // fails only where the file is closed
}

// wait calls hear whenever there is something, until interrupt.
func (c *conntrack) wait(hear func()) {
	_ = c.wake.Read(func(uintptr) bool {
		hear()
		return false
	})
}

// hear reads what has come. lost is set when something did not fit.
func (c *conntrack) hear(flows []host.Flow) (_ []host.Flow, lost bool) {
	_ = c.wake.Control(func(fd uintptr) { // fails only where the file is closed
		for {
			n, _, err := unix.Recvfrom(int(fd), c.buf, unix.MSG_DONTWAIT)
			switch {
			case err == unix.EINTR:
			case err == unix.ENOBUFS:
				lost = true
			case err != nil:
				return
			default:
				_ = messages(c.buf[:n], func(h nlmsg, body []byte) error { // the kernel makes no torn ones
					if flow, ok := flowOf(body); ok && (h.kind == ctNew || h.kind == ctDelete) {
						flow.Gone = h.kind == ctDelete
						flows = append(flows, flow)
					}
					return nil
				})
			}
		}
	})
	return flows, lost
}

// all reads the connections that there are.
func (c *conntrack) all() (flows []host.Flow, err error) {
	// A dump walks the whole machine's table, however few are of this namespace.
	entries := uint32(0)
	// (Its answer claims to be one of several, so the acknowledgement is its end.)
	_, err = c.ask.exchange(request(ctStats, unix.NLM_F_ACK, raw{unix.AF_UNSPEC, 0, 0, 0}), func(_ uint16, body []byte) error {
		attributes(body[min(len(body), sizeofNfgenmsg):], func(t uint16, v []byte) {
			if t == ctaStatsEntries && len(v) == 4 {
				entries = binary.BigEndian.Uint32(v)
			}
		})
		return nil
	})
	if err == nil && entries == 0 {
		return nil, nil
	}
	err = c.ask.dump(request(ctGet, 0, raw{unix.AF_UNSPEC, 0, 0, 0}), func() { flows = nil }, func(body []byte) {
		if flow, ok := flowOf(body); ok && len(flows) < flowLimit {
			flows = append(flows, flow)
		}
	})
	if err != nil && !lacking(err) {
		return nil, fmt.Errorf("read connections: %w", err)
	}
	return flows, nil
}

// flowOf reads a connection; ok is false where nothing is translated.
func flowOf(body []byte) (f host.Flow, ok bool) {
	if len(body) < sizeofNfgenmsg {
		return f, false
	}
	attributes(body[sizeofNfgenmsg:], func(t uint16, v []byte) {
		switch t {
		case ctaTupleOrig:
			f.Original, f.Protocol = tupleOf(v)
		case ctaTupleReply:
			f.Reply, _ = tupleOf(v)
		}
	})
	ok = f.Original.Src.Addr().IsValid() && f.Reply.Src.Addr().IsValid() &&
		(f.Original.Src != f.Reply.Dst || f.Original.Dst != f.Reply.Src)
	return f, ok
}

func tupleOf(b []byte) (t host.Tuple, protocol uint8) {
	var src, dst netip.Addr
	var from, to uint16
	attributes(b, func(kind uint16, v []byte) {
		switch kind {
		case ctaTupleIP:
			attributes(v, func(kind uint16, v []byte) {
				switch kind {
				case ctaIPv4Src, ctaIPv6Src:
					src = address(v)
				case ctaIPv4Dst, ctaIPv6Dst:
					dst = address(v)
				}
			})
		case ctaTupleProto:
			attributes(v, func(kind uint16, v []byte) {
				switch {
				case kind == ctaProtoNum && len(v) == 1:
					protocol = v[0]
				case len(v) != 2:
				case kind == ctaProtoSrcPort:
					from = binary.BigEndian.Uint16(v)
				case kind == ctaProtoDest:
					to = binary.BigEndian.Uint16(v)
				case kind == ctaProtoICMPID, kind == ctaICMPv6ID:
					from = binary.BigEndian.Uint16(v)
					to = from
				}
			})
		}
	})
	return host.Tuple{Src: netip.AddrPortFrom(src, from), Dst: netip.AddrPortFrom(dst, to)}, protocol
}
