package host

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"
)

// A capture goes over NATS as frames on two subjects, one per direction, under a
// name that the client has chosen. A frame begins with its kind:
//
//	batch: position (8 bytes), records before it (8), drops of the kernel and of
//	       the host since the start (8 each), length of what follows as JSON (4),
//	       JSON: interfaces and flows, then records: interface (4), flags (4),
//	       time in ns (8), length (4), kept bytes (4), these
//	taken: position (8), flags: an answer is wanted, interfaces are missing (1)
//	end:   JSON: why the capture has ended. From the client: close it
//
// Positions count the bytes of all frames since the beginning. The host sends no
// more than a window ahead of what was taken, so that nothing grows and nothing
// is dropped on the way while the client does not read; it is the host's own
// queue then that drops, and counts. A gap is noticed by the positions, and how
// many records it had by their count. An empty batch tells the state.
const (
	frameBatch = 'b'
	frameTaken = 't'

	batchHeader  = 1 + 8 + 8 + 8 + 8 + 4
	recordHeader = 24
	takenSize    = 1 + 8 + 1

	wantsAnswer       = 1
	missingInterfaces = 2

	recordOut        = 1
	recordUnfinished = 2

	// captureFrame bounds a frame, captureWindow the frames under way.
	captureFrame  = 256 << 10
	captureWindow = 1 << 20
	// frameFlows bounds the interfaces and the flows of one frame.
	frameFlows = 256
)

func captureSubject(name string, toHost bool) string {
	if toHost {
		return "kabel.capture." + name + ".in"
	}
	return "kabel.capture." + name + ".out"
}

// captureWriter makes frames of batches.
type captureWriter struct {
	position uint64 // bytes of all frames so far
	records  uint64 // in them
	kernel   uint64 // drops so far
	host     uint64
	known    map[uint32]CaptureInterface
}

func newCaptureWriter() *captureWriter {
	return &captureWriter{known: map[uint32]CaptureInterface{}}
}

// again lists all interfaces that there are.
func (w *captureWriter) again() (all []CaptureInterface) {
	for _, i := range w.known {
		all = append(all, i)
	}
	return all
}

// frame takes the beginning of b, as much as a frame holds.
func (w *captureWriter) frame(b *CaptureBatch) []byte {
	head := CaptureBatch{Interfaces: b.Interfaces[:min(len(b.Interfaces), frameFlows)], Flows: b.Flows[:min(len(b.Flows), frameFlows)]}
	b.Interfaces, b.Flows = b.Interfaces[len(head.Interfaces):], b.Flows[len(head.Flows):]
	for _, i := range head.Interfaces {
		if i.Gone {
			delete(w.known, i.ID)
		} else {
			w.known[i.ID] = i
		}
	}
	var words []byte
	if len(head.Interfaces)+len(head.Flows) > 0 {
		words, _ = json.Marshal(head) // plain fields: it can't fail
	}
	n, size := 0, batchHeader+len(words)
	if len(b.Interfaces) == 0 && len(b.Flows) == 0 { // else they are not yet explained
		for n < len(b.Records) && (n == 0 || size+recordHeader+len(b.Records[n].Data) <= captureFrame) {
			size += recordHeader + len(b.Records[n].Data)
			n++
		}
	}
	w.kernel, w.host = max(w.kernel, b.Kernel), max(w.host, b.Host)
	f := make([]byte, 0, size)
	f = append(f, frameBatch)
	f = binary.BigEndian.AppendUint64(f, w.position)
	f = binary.BigEndian.AppendUint64(f, w.records)
	f = binary.BigEndian.AppendUint64(f, w.kernel)
	f = binary.BigEndian.AppendUint64(f, w.host)
	f = binary.BigEndian.AppendUint32(f, uint32(len(words)))
	f = append(f, words...)
	for i := range b.Records[:n] {
		r := &b.Records[i]
		flags := uint32(0)
		if r.Out {
			flags |= recordOut
		}
		if r.Unfinished {
			flags |= recordUnfinished
		}
		f = binary.BigEndian.AppendUint32(f, r.Interface)
		f = binary.BigEndian.AppendUint32(f, flags)
		f = binary.BigEndian.AppendUint64(f, uint64(r.Time.UnixNano()))
		f = binary.BigEndian.AppendUint32(f, uint32(r.Length))
		f = binary.BigEndian.AppendUint32(f, uint32(len(r.Data)))
		f = append(f, r.Data...)
	}
	b.Records = b.Records[n:]
	w.position += uint64(len(f))
	w.records += uint64(n)
	return f
}

// batchFrame is a frame that was read.
type batchFrame struct {
	CaptureBatch
	position, records uint64 // before it
}

// readBatch reads a frame of a batch; its records' data lie in it.
func readBatch(frame []byte) (b batchFrame, err error) {
	if len(frame) < batchHeader || frame[0] != frameBatch {
		return b, fmt.Errorf("%d bytes are no batch", len(frame))
	}
	b.position, b.records = binary.BigEndian.Uint64(frame[1:]), binary.BigEndian.Uint64(frame[9:])
	b.Kernel, b.Host = binary.BigEndian.Uint64(frame[17:]), binary.BigEndian.Uint64(frame[25:])
	words := uint64(binary.BigEndian.Uint32(frame[33:]))
	rest := frame[batchHeader:]
	if words > uint64(len(rest)) {
		return b, fmt.Errorf("%d bytes of interfaces and flows are cut off", words)
	}
	if words > 0 {
		if err := json.Unmarshal(rest[:words], &b.CaptureBatch); err != nil {
			return b, fmt.Errorf("interfaces and flows: %w", err)
		}
	}
	for rest = rest[words:]; len(rest) > 0; {
		if len(rest) < recordHeader {
			return b, fmt.Errorf("a record is cut off")
		}
		flags, kept := binary.BigEndian.Uint32(rest[4:]), uint64(binary.BigEndian.Uint32(rest[20:]))
		r := CaptureRecord{
			Interface: binary.BigEndian.Uint32(rest), Time: time.Unix(0, int64(binary.BigEndian.Uint64(rest[8:]))),
			Out: flags&recordOut != 0, Unfinished: flags&recordUnfinished != 0, Length: int(binary.BigEndian.Uint32(rest[16:])),
		}
		rest = rest[recordHeader:]
		if kept > uint64(len(rest)) {
			return b, fmt.Errorf("a packet of %d bytes is cut off", kept)
		}
		r.Data, rest = rest[:kept:kept], rest[kept:]
		b.Records = append(b.Records, r)
	}
	return b, nil
}

func takenFrame(position uint64, flags byte) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{frameTaken}, position), flags)
}
