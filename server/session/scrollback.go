package session

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	// maxScrollback is how much of what a terminal has shown is kept, in bytes.
	maxScrollback = 256 << 10
	// trimSlack is how much more may be kept, so that not every byte moves all.
	trimSlack = maxScrollback / 4
	// markEvery is how far apart the places are, about, where a replay may begin.
	markEvery = 4 << 10
)

// scrollback is the last of what a terminal has shown. It follows the escape
// sequences as far as is needed to tell where a replay may begin and which modes
// the screen is in there.
type scrollback struct {
	data  []byte
	start uint64 // position of data's first byte
	marks []mark // where a replay may begin, ascending

	state  scanState
	need   int          // bytes that the present character still needs
	params []byte       // of the present CSI sequence
	modes  map[int]bool // that are not as in a new terminal
	prefix string       // what sets them
}

// mark is a place between two characters or sequences.
type mark struct {
	at     uint64
	prefix string // what puts a new terminal into the modes that it had here
}

type scanState int

const (
	ground scanState = iota
	escape
	csi
	text       // of OSC, DCS, APC, PM, SOS
	textEscape // in a text, perhaps its end
)

// keptModes are the private modes that a screen is replayed in, and what they
// are in a new terminal: cursor keys, wrapping, the cursor, mouse, alternate
// screens, bracketed paste.
var keptModes = map[int]bool{1: false, 7: true, 25: true, 9: false, 1000: false, 1002: false, 1003: false, 1004: false,
	1005: false, 1006: false, 1015: false, 47: false, 1047: false, 1049: false, 2004: false}

// end is the position after the last byte.
func (s *scrollback) end() uint64 { return s.start + uint64(len(s.data)) }

func (s *scrollback) add(b []byte) {
	last := s.start
	if n := len(s.marks); n > 0 {
		last = s.marks[n-1].at
	}
	at := s.end()
	for _, c := range b {
		s.scan(c)
		at++
		if s.state == ground && s.need == 0 && (at >= last+markEvery && c == '\n' || at >= last+2*markEvery) {
			s.marks = append(s.marks, mark{at, s.prefix})
			last = at
		}
	}
	s.data = append(s.data, b...)
	if len(s.data) <= maxScrollback+trimSlack {
		return
	}
	drop := len(s.data) - maxScrollback
	s.data = s.data[:copy(s.data, s.data[drop:])]
	s.start += uint64(drop)
	s.marks = slices.DeleteFunc(s.marks, func(m mark) bool { return m.at < s.start })
}

// replay is where to begin for somebody who has an empty screen, and what to
// send before. Where there is no place to begin, that is the end.
func (s *scrollback) replay() (at uint64, prefix string) {
	switch {
	case s.start == 0:
		return 0, ""
	case len(s.marks) > 0:
		return s.marks[0].at, s.marks[0].prefix
	}
	return s.end(), s.prefix
}

// from is what there is from a position on that has not been dropped.
func (s *scrollback) from(at uint64) []byte { return s.data[at-s.start:] }

// scan follows one byte, as ECMA-48 has it and xterm does it.
func (s *scrollback) scan(c byte) {
	switch {
	case s.need > 0 && c&0xc0 == 0x80:
		s.need--
		return
	case c == 0x18 || c == 0x1a: // these cancel whatever it is
		s.state, s.need = ground, 0
		return
	}
	s.need = 0
	switch s.state {
	case ground:
		switch {
		case c == 0x1b:
			s.state = escape
		case c >= 0xf0 && c < 0xf5:
			s.need = 3
		case c >= 0xe0 && c < 0xf0:
			s.need = 2
		case c >= 0xc2 && c < 0xe0:
			s.need = 1
		}
	case escape:
		switch {
		case c == '[':
			s.state, s.params = csi, s.params[:0]
		case strings.IndexByte("]PX^_", c) >= 0:
			s.state = text
		case c == 'c': // full reset
			s.state = ground
			s.setModes(nil)
		case c == 0x1b || c < 0x30: // again, a control or an intermediate
		default:
			s.state = ground
		}
	case csi:
		switch {
		case c == 0x1b:
			s.state = escape
		case c >= 0x40 && c < 0x7f:
			s.state = ground
			s.finish(c)
		case c >= 0x20 && len(s.params) < 64:
			s.params = append(s.params, c)
		}
	case text:
		switch c {
		case 0x07:
			s.state = ground
		case 0x1b:
			s.state = textEscape
		}
	case textEscape:
		s.state = escape
		s.scan(c) // a backslash ends the text, anything else a sequence of its own
	}
}

// finish looks at a whole CSI sequence: is it one that sets or resets modes?
func (s *scrollback) finish(final byte) {
	list, private := strings.CutPrefix(string(s.params), "?")
	if !private || final != 'h' && final != 'l' {
		return
	}
	modes := maps.Clone(s.modes)
	for p := range strings.SplitSeq(list, ";") {
		var mode int
		if _, err := fmt.Sscanf(p, "%d", &mode); err != nil {
			continue
		}
		usual, kept := keptModes[mode]
		switch {
		case !kept:
		case usual == (final == 'h'):
			delete(modes, mode)
		default:
			if modes == nil {
				modes = map[int]bool{}
			}
			modes[mode] = final == 'h'
		}
	}
	if !maps.Equal(modes, s.modes) {
		s.setModes(modes)
	}
}

func (s *scrollback) setModes(modes map[int]bool) {
	s.modes = modes
	var b strings.Builder
	for _, mode := range slices.Sorted(maps.Keys(modes)) {
		final := 'l'
		if modes[mode] {
			final = 'h'
		}
		fmt.Fprintf(&b, "\x1b[?%d%c", mode, final)
	}
	s.prefix = b.String()
}
