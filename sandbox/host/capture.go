package host

import (
	"cmp"
	"context"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"kabel/sandbox/topo"
)

// CaptureRequest says which packets of a world to see, and how much of them.
type CaptureRequest struct {
	// Node and Link limit the capture; where they are empty, it sees all, those
	// that come later too.
	Node topo.NodeID `json:"node,omitempty"`
	Link string      `json:"link,omitempty"`
	// Snap is how many bytes of each packet are kept; 0: DefaultSnap; at most MaxSnap.
	Snap int `json:"snap,omitempty"`
	// Filter is a classic BPF program as the kernel runs it on a packet socket of
	// a whole namespace: the VLAN tag and the hardware type are in the ancillary
	// data. Empty: every packet.
	Filter []Instruction `json:"filter,omitempty"`
	// Retire is how long a packet may wait for others in the kernel; 0:
	// DefaultRetire; MinRetire to MaxRetire.
	Retire time.Duration `json:"retire,omitempty"`
}

// Instruction is one of classic BPF; linux/filter.h, struct sock_filter.
type Instruction struct {
	Op uint16 `json:"op"`
	Jt uint8  `json:"jt,omitempty"`
	Jf uint8  `json:"jf,omitempty"`
	K  uint32 `json:"k,omitempty"`
}

// The bounds of a CaptureRequest.
const (
	DefaultSnap   = 256
	MaxSnap       = 65535
	DefaultRetire = 50 * time.Millisecond
	MinRetire     = time.Millisecond
	MaxRetire     = 100 * time.Millisecond
	// MaxFilter is the kernel's own bound, BPF_MAXINSNS.
	MaxFilter = 4096
)

// Normal is the request with its defaults filled in, or an error of CodeInvalid.
func (r CaptureRequest) Normal() (CaptureRequest, error) {
	r.Snap, r.Retire = cmp.Or(r.Snap, DefaultSnap), cmp.Or(r.Retire, DefaultRetire)
	switch {
	case r.Node != "" && !r.Node.Valid():
		return r, Errorf(CodeInvalid, "%q can't name a node", r.Node)
	case r.Link != "" && !topo.ValidLinkName(r.Link):
		return r, Errorf(CodeInvalid, "%q can't name an interface", r.Link)
	case r.Snap < 1 || r.Snap > MaxSnap:
		return r, Errorf(CodeInvalid, "%d bytes of a packet can't be kept", r.Snap)
	case r.Retire < MinRetire || r.Retire > MaxRetire:
		return r, Errorf(CodeInvalid, "a packet can't wait for %v", r.Retire)
	case len(r.Filter) > MaxFilter:
		return r, Errorf(CodeInvalid, "a filter of %d instructions is too long", len(r.Filter))
	}
	return r, nil
}

// Capture is packets as they pass. One goroutine may call Next at a time.
type Capture interface {
	// Next waits for what was seen since the last call. io.EOF means that the
	// world or the capture has ended. A reader that is too slow loses the oldest
	// packets, which are counted. The packets of one namespace are in the order of
	// their times; those of two may be out of it by the request's Retire.
	Next(ctx context.Context) (CaptureBatch, error)
	// Close ends the capture and waits until nothing of it is left.
	Close() error
}

// CaptureBatch is what a reader gets at a time.
type CaptureBatch struct {
	// Interfaces are those that the records are of, each told once, not later than
	// its first record, and once more as gone, not earlier than its last. What is
	// told may be told again.
	Interfaces []CaptureInterface `json:"interfaces,omitempty"`
	Records    []CaptureRecord    `json:"-"`
	// Flows are told, as far as possible, not later than the records that they
	// explain.
	Flows []Flow `json:"flows,omitempty"`
	// Kernel and Host count the packets that were dropped since the capture was
	// opened: by the kernel, whose ring was full, and by the host, whose reader
	// was too slow.
	Kernel uint64 `json:"-"`
	Host   uint64 `json:"-"`

	buffers []*CaptureBuffer
}

// Release gives the memory of the records back, which a capture at a high rate
// would else have to be given anew for each; nobody may look at them or their data
// then. Whoever keeps them does without it.
func (b *CaptureBatch) Release() {
	for _, u := range b.buffers {
		u.queue.recycle(u)
	}
	b.Records, b.buffers = nil, nil
}

// CaptureBuffer is memory for the records of a batch and their data.
type CaptureBuffer struct {
	Records []CaptureRecord
	Data    []byte
	queue   *CaptureQueue
}

// CaptureInterface is a place where packets are seen. One that is renamed, or
// made anew, is another.
type CaptureInterface struct {
	ID   uint32      `json:"id"` // from 1
	Node topo.NodeID `json:"node"`
	Link string      `json:"link"`
	// Hardware is the kernel's ARPHRD_ type, linux/if_arp.h: 1 Ethernet, 772
	// loopback, 65534 none (packets begin with IP).
	Hardware uint16 `json:"hardware"`
	Gone     bool   `json:"gone,omitempty"`
}

// The hardware types of a lab's interfaces, linux/if_arp.h.
const (
	HardwareEther    = 1
	HardwareLoopback = 772
	HardwareNone     = 65534
)

// CaptureRecord is one packet at one interface. On a loopback interface, where
// each is sent and received at once, it is told once, as received.
type CaptureRecord struct {
	Interface uint32
	Time      time.Time
	Out       bool // sent there, not received
	// Unfinished is set where the kernel has left the checksum to the hardware.
	Unfinished bool
	Length     int    // bytes that it had
	Data       []byte // the first of them; a VLAN tag stands in its place
}

// Flow is a connection whose addresses are translated in a node, as conntrack
// knows it.
type Flow struct {
	Node     topo.NodeID `json:"node"`
	Protocol uint8       `json:"protocol"`
	Original Tuple       `json:"original"`
	Reply    Tuple       `json:"reply"` // as the answers come to the node
	Gone     bool        `json:"gone,omitempty"`
}

// Tuple is one direction of a Flow. The ports of ICMP are the echo's id.
type Tuple struct {
	Src netip.AddrPort `json:"src"`
	Dst netip.AddrPort `json:"dst"`
}

// The bounds of a CaptureQueue.
const (
	queueBytes  = 4 << 20
	queueFlows  = 4096
	batchBytes  = 256 << 10 // that Next puts together at most
	recordBytes = 80        // of memory for a record, besides its data
	flowBytes   = 160
	queueSpare  = 4 // buffers that are kept for the next batches
)

// CaptureQueue holds what a capture has seen until its reader takes it, bounded:
// it loses the oldest records and counts them.
type CaptureQueue struct {
	poke chan struct{}

	mu           sync.Mutex
	waiting      []queued
	bytes        int
	spare        []*CaptureBuffer
	kernel, host uint64
	ended        bool
}

type queued struct {
	CaptureBatch
	bytes    int
	position uint64
}

// NewCaptureQueue makes one that is empty.
func NewCaptureQueue() *CaptureQueue { return &CaptureQueue{poke: make(chan struct{}, 1)} }

// Buffer is an empty one, with room for so many records and bytes.
func (q *CaptureQueue) Buffer(records, bytes int) *CaptureBuffer {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, u := range q.spare {
		if cap(u.Records) >= records && cap(u.Data) >= bytes {
			q.spare = slices.Delete(q.spare, i, i+1)
			return u
		}
	}
	return &CaptureBuffer{make([]CaptureRecord, 0, records), make([]byte, 0, bytes), q}
}

func (q *CaptureQueue) recycle(u *CaptureBuffer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.keep(u)
}

// keep is recycle for who holds q.mu.
func (q *CaptureQueue) keep(u *CaptureBuffer) {
	if len(q.spare) == queueSpare {
		q.spare = slices.Delete(q.spare, 0, 1)
	}
	u.Records, u.Data = u.Records[:0], u.Data[:0]
	q.spare = append(q.spare, u)
}

// PutBuffer adds the records of a buffer, which is the queue's from then on, to a
// batch, and Puts that.
func (q *CaptureQueue) PutBuffer(u *CaptureBuffer, b CaptureBatch) {
	b.Records, b.buffers = u.Records, []*CaptureBuffer{u}
	q.put(b, 0)
}

// Put adds a batch, which is the queue's from then on. Its Kernel and Host are
// what was dropped since the last Put.
func (q *CaptureQueue) Put(b CaptureBatch) { q.put(b, 0) }

func (q *CaptureQueue) put(b CaptureBatch, position uint64) {
	n := len(b.Records)*recordBytes + len(b.Flows)*flowBytes
	for i := range b.Records {
		n += len(b.Records[i].Data)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return // nobody reads any more
	}
	q.kernel += b.Kernel
	q.host += b.Host
	q.waiting = append(q.waiting, queued{b, n, position})
	q.bytes += n
	for q.bytes > queueBytes && len(q.waiting) > 1 {
		q.dropOldest()
	}
	q.wake()
}

// dropOldest loses the records of the first batch. What the others need of it is
// told with the second.
func (q *CaptureQueue) dropOldest() {
	first, second := q.waiting[0], &q.waiting[1]
	q.waiting = q.waiting[1:]
	q.host += uint64(len(first.Records))
	for _, u := range first.buffers {
		q.keep(u)
	}
	q.bytes -= first.bytes + second.bytes
	second.Interfaces = append(first.Interfaces, second.Interfaces...)
	flows := append(first.Flows, second.Flows...)
	if over := len(flows) - queueFlows; over > 0 {
		q.host += uint64(over)
		flows = flows[over:]
	}
	second.bytes += (len(flows) - len(second.Flows)) * flowBytes
	second.Flows = flows
	q.bytes += second.bytes
}

func (q *CaptureQueue) wake() {
	select {
	case q.poke <- struct{}{}:
	default: // the reader has not yet followed the last poke
	}
}

// End lets the reader take what waits, and then io.EOF.
func (q *CaptureQueue) End() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.wake()
}

// Next implements Capture.
func (q *CaptureQueue) Next(ctx context.Context) (CaptureBatch, error) {
	b, err := q.next(ctx)
	return b.CaptureBatch, err
}

func (q *CaptureQueue) next(ctx context.Context) (queued, error) {
	for {
		b, ok, ended := q.take()
		switch {
		case ok:
			return b, nil
		case ended:
			return b, io.EOF
		}
		select {
		case <-q.poke:
		case <-ctx.Done():
			return b, ctx.Err()
		}
	}
}

// take puts small batches together.
func (q *CaptureQueue) take() (b queued, ok, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		if q.ended {
			q.wake() // for the next call
		}
		return b, false, q.ended
	}
	b, q.waiting = q.waiting[0], q.waiting[1:]
	for len(q.waiting) > 0 && b.bytes+q.waiting[0].bytes <= batchBytes {
		more := q.waiting[0]
		q.waiting = q.waiting[1:]
		b.Interfaces = append(b.Interfaces, more.Interfaces...)
		b.Records = append(b.Records, more.Records...)
		b.Flows = append(b.Flows, more.Flows...)
		b.buffers = append(b.buffers, more.buffers...)
		b.bytes += more.bytes
		b.position = more.position
	}
	q.bytes -= b.bytes
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
	b.Kernel, b.Host = q.kernel, q.host
	return b, true, false
}
