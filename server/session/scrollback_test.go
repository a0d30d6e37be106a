package session

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// A replay begins between two characters or sequences, whatever was cut off.
func TestScrollbackBeginsAtASafePlace(t *testing.T) {
	for what, piece := range map[string]string{
		"lines":               "hello, world\r\n",
		"no line ends":        "hello, world ",
		"long characters":     "한글𝔘nhiều",
		"colours":             "\x1b[1;38;5;200mred\x1b[0m",
		"a title":             "\x1b]0;host1: a title\a$ ",
		"a title, in another": "\x1b]0;host1: a title\x1b\\$ ",
		"a charset":           "\x1b(0lqqk\x1b(B",
		"broken characters":   "\xe3\x81a\xffb\x80",
	} {
		t.Run(what, func(t *testing.T) {
			var s scrollback
			pieces := 2 * maxScrollback / len(piece)
			whole := strings.Repeat(piece, pieces)
			for b := []byte(whole); len(b) > 0; {
				n := min(len(b), 1000)
				s.add(b[:n])
				b = b[n:]
			}
			at, prefix := s.replay()
			got := string(s.from(at))
			if !strings.HasSuffix(whole, got) || prefix != "" {
				t.Fatal("it is not the end of what was shown")
			}
			if len(got) < maxScrollback-3*markEvery || len(s.data) > maxScrollback+trimSlack {
				t.Errorf("%d bytes are replayed, %d are kept", len(got), len(s.data))
			}
			// Where a sequence or a character begins in the piece.
			var fits bool
			var scan scrollback
			for i := range len(piece) + 1 {
				if scan.state == ground && scan.need == 0 && strings.HasPrefix(got, piece[i:]+piece) {
					fits = true
				}
				if i < len(piece) {
					scan.scan(piece[i])
				}
			}
			if !fits {
				t.Errorf("it begins with %q", got[:40])
			}
			if what == "long characters" && !utf8.ValidString(got) {
				t.Errorf("it begins within a character: %q", got[:10])
			}
		})
	}
}

func TestScrollbackKeepsModes(t *testing.T) {
	fill := strings.Repeat("line\r\n", maxScrollback/3)
	for _, c := range []struct{ what, before, want string }{
		{"none", "", ""},
		{"an editor", "\x1b[?1049h\x1b[?1h\x1b[?2004h", "\x1b[?1h\x1b[?1049h\x1b[?2004h"},
		{"an editor that has ended", "\x1b[?1049h\x1b[?1049l", ""},
		{"several in one", "\x1b[?1000;1006h", "\x1b[?1000h\x1b[?1006h"},
		{"those that are on at first", "\x1b[?25l\x1b[?7l\x1b[?7h", "\x1b[?25l"},
		{"after a reset", "\x1b[?1049h\x1bc", ""},
		{"unknown ones and nonsense", "\x1b[?9999h\x1b[?h\x1b[?;;xh\x1b[4h\x1b[?" + strings.Repeat("1", 100) + "h", ""},
		{"what only looks like it", "\x1b]0;\x1b[?1049h\a", "\x1b[?1049h"}, // the escape ends the title
		{"within a title", "\x1b]0;[?1049h\a", ""},
		{"cancelled", "\x1b[?1049\x18h", ""},
	} {
		var s scrollback
		s.add([]byte(c.before + fill))
		if _, got := s.replay(); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestScrollbackWithoutASafePlace(t *testing.T) {
	var s scrollback
	s.add([]byte("\x1b]0;" + strings.Repeat("x", 2*maxScrollback)))
	if at, _ := s.replay(); at != s.end() {
		t.Errorf("it begins at %d of %d, within a title", at, s.end())
	}
}

// How the bytes come in pieces makes no difference, and nothing grows.
func TestScrollbackOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		b := make([]byte, rapid.SampledFrom([]int{0, 100, 10_000, 50_000, maxScrollback + trimSlack + 10_000}).Draw(t, "length"))
		for i := range b {
			b[i] = "\x1b\x1b[]?1049h;\\\a\n\x18한\xffabc"[r.IntN(20)]
		}
		var whole, pieces scrollback
		for rest := b; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(50_000))
			pieces.add(rest[:n])
			rest = rest[n:]
		}
		whole.add(b)
		if pieces.end() != uint64(len(b)) || !bytes.HasSuffix(b, pieces.data) || len(pieces.data) > maxScrollback+trimSlack {
			t.Fatalf("%d bytes are kept up to %d", len(pieces.data), pieces.end())
		}
		if whole.state != pieces.state || whole.prefix != pieces.prefix {
			t.Fatalf("%v %q in one piece, %v %q in several", whole.state, whole.prefix, pieces.state, pieces.prefix)
		}
		if at, _ := pieces.replay(); at < pieces.start || at > pieces.end() {
			t.Fatalf("a replay at %d of %d to %d", at, pieces.start, pieces.end())
		}
	})
}

func BenchmarkScrollback(b *testing.B) {
	var s scrollback
	text := []byte(strings.Repeat("\x1b[32mroot\x1b[0m한글 some text\r\n", 1000))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s.add(text)
	}
}
