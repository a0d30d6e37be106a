package host

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
)

// A terminal's bytes go over NATS as frames on two subjects, one per direction.
// The end that opened it chose the name that both contain. A frame begins with
// its kind:
//
//	data:  position (8 bytes), then bytes of the stream from there on
//	state: what its sender has taken of the other stream, sent of its own, and
//	       missed of the other (8 bytes each), rows, columns (2 each), whether
//	       it wants an answer (1)
//	end:   position (8), then JSON: how the terminal ended. From the client: hang up
//
// Positions count all bytes since the beginning, so that a gap is noticed and a
// state that is lost is made good by the next. No end has more than a window of
// bytes under way that the other has not taken: so nothing grows while somebody
// does not read.
const (
	frameData  = 'd'
	frameState = 's'
	frameEnd   = 'e'

	dataHeader = 1 + 8
	stateSize  = 1 + 8 + 8 + 8 + 2 + 2 + 1

	// terminalWindow bounds the bytes under way in each direction.
	terminalWindow = 64 << 10
	// terminalChunk bounds those of one message.
	terminalChunk = 16 << 10
)

func terminalSubject(name string, toHost bool) string {
	if toHost {
		return "kabel.terminal." + name + ".in"
	}
	return "kabel.terminal." + name + ".out"
}

// ending is how a terminal ended; without an error, its shell did.
type ending struct {
	Code  int        `json:"code"`
	Error *wireError `json:"error,omitempty"`
}

// line is one end of a terminal's two streams.
type line struct {
	publish func(frame []byte) error
	// notice, if there is one, makes words of a loss, which are then read.
	notice func(n uint64, ofIncoming bool) string
	// resize, if there is one, is called with the size in each state that has one.
	resize func(rows, cols int)

	mu      sync.Mutex
	changed sync.Cond
	sent    uint64 // of the outgoing stream
	taken   uint64 // of it by the other end
	got     uint64 // of the incoming stream
	told    uint64 // of it as taken, to the other end
	missed  uint64 // of it
	theirs  uint64 // missed by the other end
	buf     []byte // that was got but not yet taken
	end     error  // nothing more comes in
	result  ending // if end is errEnded
}

func newLine(publish func([]byte) error) *line {
	l := &line{publish: publish}
	l.changed.L = &l.mu
	return l
}

// receive takes a frame. It does not block.
func (l *line) receive(frame []byte) {
	if len(frame) < dataHeader {
		return
	}
	position := binary.BigEndian.Uint64(frame[1:])
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.changed.Broadcast()
	switch kind := frame[0]; {
	case l.end != nil:
	case kind == frameData:
		l.catchUp(position)
		if data := frame[dataHeader:]; position == l.got { // else it has come already
			l.buf = append(l.buf, data...)
			l.got += uint64(len(data))
		}
		if len(l.buf) > 2*terminalWindow { // the other end does not keep to the window
			l.end = Errorf(CodeInternal, "a terminal's line was flooded")
		}
	case kind == frameState && len(frame) == stateSize:
		l.taken = max(l.taken, min(position, l.sent))
		l.catchUp(binary.BigEndian.Uint64(frame[9:]))
		if missed := binary.BigEndian.Uint64(frame[17:]); missed > l.theirs {
			l.tellLoss(missed-l.theirs, false)
			l.theirs = missed
		}
		if rows, cols := int(binary.BigEndian.Uint16(frame[25:])), int(binary.BigEndian.Uint16(frame[27:])); l.resize != nil && ValidSize(rows, cols) == nil {
			l.resize(rows, cols)
		}
		if frame[29] != 0 {
			l.tell(0, 0, false)
		}
	case kind == frameEnd:
		l.catchUp(position)
		l.end = errEnded
		if err := json.Unmarshal(frame[dataHeader:], &l.result); err != nil {
			l.end = Errorf(CodeInternal, "the end of a terminal: %w", err)
		} else if l.result.Error != nil {
			l.end = l.result.Error.err()
		}
	}
}

// catchUp goes on to a position of the incoming stream; what was missed is lost.
// The caller holds l.mu.
func (l *line) catchUp(position uint64) {
	if position > l.got {
		l.tellLoss(position-l.got, true)
		l.missed += position - l.got
		l.got = position
	}
}

func (l *line) tellLoss(n uint64, ofIncoming bool) {
	if l.notice != nil {
		l.buf = append(l.buf, l.notice(n, ofIncoming)...)
	}
}

// errEnded is the end of a line by its other end.
var errEnded = fmt.Errorf("the terminal has ended")

// read waits for bytes of the incoming stream, and gives those that came before
// its end first.
func (l *line) read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.buf) == 0 && l.end == nil {
		l.changed.Wait()
	}
	if len(l.buf) == 0 {
		return 0, l.end
	}
	n := copy(b, l.buf)
	if l.buf = l.buf[n:]; len(l.buf) == 0 {
		l.buf = nil
	}
	// What stands for lost bytes counts as not taken, which errs on the safe side.
	if l.got-min(l.got, uint64(len(l.buf)))-l.told >= terminalWindow/4 {
		l.tell(0, 0, false)
	}
	return n, nil
}

// write sends bytes, and waits where the window is full.
func (l *line) write(b []byte) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n < len(b) {
		room := terminalWindow - int(l.sent-l.taken)
		switch {
		case l.end != nil:
			return n, l.end
		case room == 0:
			l.changed.Wait()
			continue
		}
		chunk := b[n:min(n+room, n+terminalChunk, len(b))]
		frame := binary.BigEndian.AppendUint64([]byte{frameData}, l.sent)
		if err := l.publish(append(frame, chunk...)); err != nil {
			return n, Errorf(CodeUnavailable, "terminal: %w", err)
		}
		l.sent += uint64(len(chunk))
		n += len(chunk)
	}
	return n, nil
}

// tellState sends the state.
func (l *line) tellState(rows, cols int, answer bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell(rows, cols, answer)
}

// tell is tellState for who holds l.mu.
func (l *line) tell(rows, cols int, answer bool) {
	taken := max(l.told, l.got-min(l.got, uint64(len(l.buf))))
	l.told = taken
	frame := binary.BigEndian.AppendUint64([]byte{frameState}, taken)
	frame = binary.BigEndian.AppendUint64(frame, l.sent)
	frame = binary.BigEndian.AppendUint64(frame, l.missed)
	frame = binary.BigEndian.AppendUint16(frame, uint16(rows))
	frame = binary.BigEndian.AppendUint16(frame, uint16(cols))
	flag := byte(0)
	if answer {
		flag = 1
	}
	_ = l.publish(append(frame, flag)) // the next state makes it good
}

// tellEnd sends the end.
func (l *line) tellEnd(e ending) {
	b, err := json.Marshal(e)
	if err != nil {
		b = []byte("{}") // can't be: it is two plain fields
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.publish(append(binary.BigEndian.AppendUint64([]byte{frameEnd}, l.sent), b...)) // if lost, so is what the other end waits for
}

// stop ends the line at this end. What was got can still be read.
func (l *line) stop(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end == nil {
		l.end = why
	}
	l.changed.Broadcast()
}
