package packet

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// mutations is how many broken packets the normal run tries.
const mutations = 200_000

// wellFormed is what holds for the reading of any bytes whatsoever.
func wellFormed(f *Frame) error {
	s := Summarise(f)
	for _, text := range []string{s.Protocol, s.Source, s.Destination, s.Info} {
		if err := showable(text); err != nil {
			return fmt.Errorf("summary %+v: %w", s, err)
		}
	}
	if s.Protocol == "" || s.Info == "" {
		return fmt.Errorf("summary says nothing: %+v", s)
	}
	if len(s.Info) > 3000 {
		return fmt.Errorf("a line of %d bytes", len(s.Info))
	}
	end := 0
	for _, l := range Dissect(f) {
		if l.Name == "" || l.Fields == nil {
			return fmt.Errorf("layer %+v", l)
		}
		if l.Offset < 0 || l.Length < 0 || l.Offset+l.Length > len(f.Data) {
			return fmt.Errorf("layer %s [%d+%d] of %d bytes", l.Name, l.Offset, l.Length, len(f.Data))
		}
		if err := showable(l.Name + l.Summary); err != nil {
			return fmt.Errorf("layer %+v: %w", l, err)
		}
		end = max(end, l.Offset+l.Length)
		for _, field := range l.Fields {
			if field.Name == "" || field.Length < 0 || field.Offset < l.Offset || field.Offset+field.Length > l.Offset+l.Length {
				return fmt.Errorf("field %+v outside of layer %s [%d+%d]", field, l.Name, l.Offset, l.Length)
			}
			if err := showable(field.Name + field.Value); err != nil {
				return fmt.Errorf("field %+v: %w", field, err)
			}
			if field.Bits != "" && len(strings.ReplaceAll(field.Bits, " ", "")) != 8*field.Length {
				return fmt.Errorf("field %+v: bits of other bytes", field)
			}
		}
	}
	return nil
}

// showable wants text that steers no terminal and breaks no JSON.
func showable(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%q is no UTF-8", s)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%q has an unprintable character", s)
		}
	}
	return nil
}

func TestEveryFrameOfTheCorpusIsWellFormed(t *testing.T) {
	for _, s := range corpus(t) {
		if err := wellFormed(&s.frame); err != nil {
			t.Errorf("%s %d: %v", s.name, s.frame.No, err)
		}
	}
}

// Every cut is tried of one packet of each sort.
func TestAPacketMayBeCutAnywhere(t *testing.T) {
	tried := map[string]bool{}
	for _, s := range corpus(t) {
		sort := strings.Join(names(&s.frame), " ")
		if tried[sort] {
			continue
		}
		tried[sort] = true
		for n := range min(len(s.frame.Data), 200) {
			f := s.frame
			f.Data = f.Data[:n]
			if err := wellFormed(&f); err != nil {
				t.Fatalf("%s %d cut to %d: %v", s.name, s.frame.No, n, err)
			}
			f.Length = n
			if err := wellFormed(&f); err != nil {
				t.Fatalf("%s %d of %d bytes: %v", s.name, s.frame.No, n, err)
			}
		}
	}
}

func TestMutatedPacketsNeverPanic(t *testing.T) {
	all := corpus(t)
	random := rand.New(rand.NewPCG(4, 2))
	for i := range mutations {
		s := all[i%len(all)]
		f := s.frame
		f.Data = mutate(random, f.Data)
		f.Unfinished = random.IntN(2) == 0
		if err := wellFormed(&f); err != nil {
			t.Fatalf("%s %d, mutation %d: %v\n%x", s.name, s.frame.No, i, err, f.Data)
		}
	}
}

// mutate changes some bytes of a copy, most of them in the headers, and sometimes
// its length.
func mutate(random *rand.Rand, data []byte) []byte {
	b := append([]byte(nil), data[:min(len(data), 1600)]...)
	for range 1 + random.IntN(6) {
		if len(b) == 0 {
			break
		}
		i := random.IntN(len(b))
		if random.IntN(4) > 0 {
			i = random.IntN(min(len(b), 110))
		}
		switch random.IntN(5) {
		case 0:
			b[i] ^= 1 << random.IntN(8)
		case 1:
			b[i] = byte(random.Uint32())
		case 2:
			b[i] = [...]byte{0, 1, 0x7f, 0x80, 0xff, 0xc0}[random.IntN(6)]
		case 3:
			copy(b[i:], b[random.IntN(len(b)):])
		case 4:
			if random.IntN(4) == 0 {
				b = b[:i]
			}
		}
	}
	return b
}

// FuzzDissect is for longer runs: go test -fuzz FuzzDissect.
func FuzzDissect(f *testing.F) {
	seen := map[string]bool{}
	for _, s := range corpus(f) {
		name := Summarise(&s.frame).Protocol + s.name
		if len(s.frame.Data) < 400 && !seen[name] {
			seen[name] = true
			f.Add(s.frame.Data, s.frame.Interface.Hardware, 0)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, hardware uint16, more int) {
		frame := Frame{Interface: Interface{"host1", "eth0", hardware}, Length: len(data) + more&0xffff, Data: data}
		if err := wellFormed(&frame); err != nil {
			t.Fatal(err)
		}
	})
}
