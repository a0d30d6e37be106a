package packet

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// The blocks, link types and options that a lab's captures need. Source:
// draft-ietf-opsawg-pcapng, 4; the link types are tcpdump.org's.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockStatistics = 5
	blockPacket     = 6

	linkEthernet = 1
	linkRaw      = 101 // begins with an IPv4 or IPv6 header

	optEnd           = 0
	optApplication   = 4 // of a section
	optName          = 2 // of an interface
	optResolution    = 9
	optFlags         = 2 // of a packet
	optReceived      = 4 // of statistics
	optDropped       = 5
	optKernelDropped = 7

	nanoseconds = 9 // if_tsresol: 10 to the minus 9
)

// PcapngWriter writes frames as a pcapng stream that can be read while it grows:
// the section first, each interface just before its first frame. It writes whole
// blocks with one Write each and keeps none back.
type PcapngWriter struct {
	w     io.Writer
	snap  int
	seen  map[Interface]uint32
	wrote []uint64 // frames of each interface
	block []byte
}

// everywhere is the interface that stands for losses of a capture of several:
// nobody knows which of them lost the packets.
var everywhere = Interface{Node: "all", Link: "lost", Hardware: HardwareEther}

// NewPcapng begins a stream of frames of which at most snap bytes are kept, 0
// for all; the first write comes with the first frame or WriteHeader.
func NewPcapng(w io.Writer, snap int) *PcapngWriter {
	return &PcapngWriter{w: w, snap: snap}
}

// WriteHeader begins the file before there is any frame, so that a reader sees
// one. Afterwards it does nothing.
func (p *PcapngWriter) WriteHeader() error {
	if p.seen != nil {
		return nil
	}
	p.begin(blockSection)
	p.u32(0x1a2b3c4d) // tells the byte order
	p.u16(1)          // version 1.0
	p.u16(0)
	p.u64(1<<64 - 1) // the section's length: unknown
	p.option(optApplication, []byte("Kabel"))
	p.u32(optEnd)
	if err := p.end(); err != nil {
		return fmt.Errorf("pcapng section: %w", err)
	}
	p.seen = map[Interface]uint32{}
	return nil
}

// WriteFrame writes one frame, and its interface before if it is new.
func (p *PcapngWriter) WriteFrame(f *Frame) error {
	id, err := p.describe(f.Interface)
	if err != nil {
		return err
	}
	data := f.Data
	if p.snap > 0 && len(data) > p.snap {
		data = data[:p.snap]
	}
	p.begin(blockPacket)
	p.u32(id)
	at := uint64(f.Time.UnixNano())
	p.u32(uint32(at >> 32))
	p.u32(uint32(at))
	p.u32(uint32(len(data)))
	p.u32(uint32(max(f.Length, len(f.Data))))
	p.bytes(data)
	direction := uint32(1) // inbound
	if f.Out {
		direction = 2
	}
	p.option(optFlags, binary.LittleEndian.AppendUint32(nil, direction))
	p.u32(optEnd)
	if err := p.end(); err != nil {
		return fmt.Errorf("pcapng packet: %w", err)
	}
	p.wrote[id]++
	return nil
}

// WriteDrops writes how many packets were lost until then since the beginning,
// by the kernel and by whoever passed them on. They belong to the capture as a
// whole: to its interface if it has only one, otherwise to one of their own
// named "all:lost"; where nothing was lost, each interface says so. It also
// writes how many each interface gave.
func (p *PcapngWriter) WriteDrops(at time.Time, kernel, host uint64) error {
	lost, any := uint32(0), kernel+host > 0
	if _, known := p.seen[everywhere]; known || any && len(p.seen) != 1 {
		var err error
		if lost, err = p.describe(everywhere); err != nil {
			return err
		}
	}
	for id := range uint32(len(p.wrote)) {
		p.begin(blockStatistics)
		p.u32(id)
		t := uint64(at.UnixNano())
		p.u32(uint32(t >> 32))
		p.u32(uint32(t))
		p.option(optReceived, binary.LittleEndian.AppendUint64(nil, p.wrote[id]))
		if id == lost || !any {
			p.option(optDropped, binary.LittleEndian.AppendUint64(nil, kernel+host))
			p.option(optKernelDropped, binary.LittleEndian.AppendUint64(nil, kernel))
		}
		p.u32(optEnd)
		if err := p.end(); err != nil {
			return fmt.Errorf("pcapng statistics: %w", err)
		}
	}
	return nil
}

// describe gives an interface's number and describes it the first time.
func (p *PcapngWriter) describe(i Interface) (uint32, error) {
	if err := p.WriteHeader(); err != nil {
		return 0, err
	}
	id, ok := p.seen[i]
	if ok {
		return id, nil
	}
	link := uint16(linkRaw)
	if hasEthernet(i.Hardware) {
		link = linkEthernet
	}
	p.begin(blockInterface)
	p.u16(link)
	p.u16(0)
	p.u32(uint32(p.snap))
	p.option(optName, []byte(string(i.Node)+":"+i.Link))
	p.option(optResolution, []byte{nanoseconds})
	p.u32(optEnd)
	if err := p.end(); err != nil {
		return 0, fmt.Errorf("pcapng interface: %w", err)
	}
	id = uint32(len(p.wrote))
	p.wrote = append(p.wrote, 0)
	p.seen[i] = id
	return id, nil
}

func (p *PcapngWriter) begin(kind uint32) {
	p.block = binary.LittleEndian.AppendUint32(p.block[:0], kind)
	p.u32(0) // the length, when it is known
}

func (p *PcapngWriter) end() error {
	size := uint32(len(p.block) + 4)
	p.u32(size)
	binary.LittleEndian.PutUint32(p.block[4:], size)
	_, err := p.w.Write(p.block)
	return err
}

func (p *PcapngWriter) u16(v uint16) { p.block = binary.LittleEndian.AppendUint16(p.block, v) }
func (p *PcapngWriter) u32(v uint32) { p.block = binary.LittleEndian.AppendUint32(p.block, v) }
func (p *PcapngWriter) u64(v uint64) { p.block = binary.LittleEndian.AppendUint64(p.block, v) }

// bytes are padded to whole words.
func (p *PcapngWriter) bytes(b []byte) {
	p.block = append(p.block, b...)
	for range -len(b) & 3 {
		p.block = append(p.block, 0)
	}
}

func (p *PcapngWriter) option(code uint16, value []byte) {
	p.u16(code)
	p.u16(uint16(len(value)))
	p.bytes(value)
}
