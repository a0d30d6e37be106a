package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kabel/sandbox/host"
)

// ring is a packet socket of one namespace, bound to all its interfaces, whose
// packets the kernel puts into blocks of memory that we share (TPACKET_V3;
// Documentation/networking/packet_mmap.rst). It waits on Go's poller, without a
// thread of its own. It pins its namespace.
type ring struct {
	file   *os.File
	wake   syscall.RawConn
	fd     int // valid until close
	memory []byte
	block  int          // bytes of each
	next   atomic.Int32 // the block that is read next
}

const (
	// A ring of 1 MiB loses nothing at 200,000 small packets per second.
	ringSize = 1 << 20
	// The larger a block, the less often it wakes us. But one with a single
	// packet is handed over after the retire time too, and so a few of them would
	// be used up by a reader who is kept waiting a little: a ring lasts for this
	// long.
	ringLasts = 150 * time.Millisecond
	minBlocks = 4
	maxBlocks = 32
	// A block must hold the largest packet that there is; small ones are for
	// captures that keep no more than this of each.
	smallSnap = 4096
	// ringFrame is only a unit for the kernel's own arithmetic.
	ringFrame = 2048
)

// blockSize is how many bytes each block of a request's ring has.
func blockSize(r host.CaptureRequest) int {
	blocks := minBlocks
	for blocks < maxBlocks && r.Snap <= smallSnap && time.Duration(blocks)*r.Retire < ringLasts {
		blocks *= 2
	}
	return ringSize / blocks
}

// openRing opens a ring in the calling thread's namespace. It takes some 10 ms:
// the kernel waits until no CPU is in the socket's old state. The filter is in
// place before anything is heard.
func openRing(r host.CaptureRequest) (_ *ring, err error) {
	// Protocol 0 hears nothing until bind.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	o := &ring{fd: fd, block: blockSize(r)}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return o, fmt.Errorf("set the ring's version: %w", err)
	}
	if err := attachFilter(fd, filterProgram(r)); err != nil {
		return o, fmt.Errorf("attach filter: %w", err)
	}
	size := unix.TpacketReq3{Block_size: uint32(o.block), Block_nr: uint32(ringSize / o.block), Frame_size: ringFrame,
		Frame_nr: ringSize / ringFrame, Retire_blk_tov: uint32(r.Retire / time.Millisecond)}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &size); err != nil {
		return o, fmt.Errorf("make the ring: %w", err)
	}
	if o.memory, err = unix.Mmap(fd, 0, ringSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return o, fmt.Errorf("map the ring: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian16(unix.ETH_P_ALL)}); err != nil {
		return o, fmt.Errorf("bind packet socket: %w", err)
	}
	o.file = os.NewFile(uintptr(fd), "packets")
	if o.wake, err = o.file.SyscallConn(); err != nil {
		return o, fmt.Errorf("poll packet socket: %w", err)
	}
	return o, nil
}

func bigEndian16(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// filterProgram is the request's filter, cut to the snap length by what it returns.
func filterProgram(r host.CaptureRequest) []unix.SockFilter {
	const class, source = 0x07, 0x18
	snap := uint32(r.Snap)
	if len(r.Filter) == 0 {
		return []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: snap}}
	}
	program := make([]unix.SockFilter, len(r.Filter))
	for i, in := range r.Filter {
		program[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
		if in.Op&class == unix.BPF_RET && in.Op&source == unix.BPF_K {
			program[i].K = min(in.K, snap)
		}
	}
	return program
}

func attachFilter(fd int, program []unix.SockFilter) error {
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// checkFilter lets the kernel judge a filter, by a socket that hears nothing.
func checkFilter(r host.CaptureRequest) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return limited(fmt.Errorf("open socket: %w", err))
	}
	defer unix.Close(fd)
	if err := attachFilter(fd, filterProgram(r)); err != nil {
		if errors.Is(err, unix.EINVAL) {
			return host.Errorf(host.CodeInvalid, "the kernel refuses the filter: %w", err)
		}
		return limited(fmt.Errorf("attach filter: %w", err))
	}
	return nil
}

// caught is one packet; its bytes lie in the ring.
type caught struct {
	header *unix.Tpacket3Hdr
	from   *unix.RawSockaddrLinklayer
	data   []byte
}

// caughtBlock is a block that the kernel has handed over, or the one that it
// still fills.
type caughtBlock struct {
	base  unsafe.Pointer
	head  *unix.TpacketHdrV1
	first uint32
	count uint32
}

// current is the block that is read next.
func (r *ring) current() caughtBlock {
	base := unsafe.Pointer(&r.memory[int(r.next.Load())*r.block])
	return caughtBlock{base: base, head: (*unix.TpacketHdrV1)(unsafe.Pointer(&(*unix.TpacketBlockDesc)(base).Hdr[0]))}
}

// ready is the next block, if the kernel has handed it over.
func (r *ring) ready() (caughtBlock, bool) {
	b := r.current()
	if atomic.LoadUint32(&b.head.Block_status)&unix.TP_STATUS_USER == 0 {
		return b, false
	}
	b.first, b.count = b.head.Offset_to_first_pkt, b.head.Num_pkts
	return b, true
}

// give gives the block back that was read, without a count: the kernel may not
// begin to fill it before stop.
func (r *ring) give(b caughtBlock) {
	atomic.StoreUint32(&b.head.Num_pkts, 0)
	atomic.StoreUint32(&b.head.Block_status, unix.TP_STATUS_KERNEL)
	r.next.Store((r.next.Load() + 1) % int32(ringSize/r.block))
}

// stop makes the kernel catch nothing more, and is the block that it was about
// to fill, which it would hand over only after the retire time. ready must have
// said that there is no other. (The kernel counts the packets of a block while it
// fills it: net/packet/af_packet.c, prb_fill_curr_block.)
func (r *ring) stop() caughtBlock {
	b := r.current()
	if attachFilter(r.fd, []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}) == nil {
		b.first, b.count = atomic.LoadUint32(&b.head.Offset_to_first_pkt), atomic.LoadUint32(&b.head.Num_pkts)
	}
	return b
}

// sizeofTpacket3 is where a packet's address follows its header:
// TPACKET_ALIGN(sizeof(struct tpacket3_hdr)).
const sizeofTpacket3 = 48

// each calls f for every packet of a block.
func (b caughtBlock) each(f func(*caught)) {
	var p caught
	at := unsafe.Add(b.base, b.first)
	for range b.count {
		p.header = (*unix.Tpacket3Hdr)(at)
		p.from = (*unix.RawSockaddrLinklayer)(unsafe.Add(at, sizeofTpacket3))
		p.data = unsafe.Slice((*byte)(unsafe.Add(at, p.header.Mac)), p.header.Snaplen)
		f(&p)
		at = unsafe.Add(at, p.header.Next_offset)
	}
}

// wait waits until a block is ready; its error is os.ErrDeadlineExceeded after
// interrupt. It may miss one: the kernel wakes who polls before it has moved on
// to the next block, and whoever is so quick to look that it finds the block
// before is told that there is nothing, until the next block is full
// (net/packet/af_packet.c, prb_close_block and packet_previous_rx_frame). So
// somebody looks after it, see capture.lookAfter.
func (r *ring) wait() error {
	return r.wake.Read(func(uintptr) bool {
		_, ok := r.ready()
		return ok
	})
}

// interrupt ends wait until resume.
func (r *ring) interrupt() {
	_ = r.file.SetReadDeadline(time.Unix(1, 0)) // fails only where the file is closed
}

func (r *ring) resume() {
	_ = r.file.SetReadDeadline(time.Time{})
}

// dropped tells how many packets found the ring full since the last call.
func (r *ring) dropped() uint64 {
	s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0 // it can't fail on a socket that has a ring
	}
	return uint64(s.Drops)
}

// name is what an interface is called now; empty if there is none of that index.
func (r *ring) name(index int32) string {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return ""
	}
	ifr.SetUint32(uint32(index))
	if unix.IoctlIfreq(r.fd, unix.SIOCGIFNAME, ifr) != nil {
		return ""
	}
	return ifr.Name()
}

// close lets go of the namespace. It takes some 10 ms.
func (r *ring) close() error {
	var errs []error
	if r.memory != nil {
		errs = append(errs, unix.Munmap(r.memory))
		r.memory = nil
	}
	if r.file != nil {
		return errors.Join(append(errs, r.file.Close())...)
	}
	return errors.Join(append(errs, unix.Close(r.fd))...)
}
