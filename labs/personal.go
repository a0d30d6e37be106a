package labs

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"kabel/sandbox/topo"
)

// Personal is the variant in which each learner has names and addresses of their
// own, drawn by a seed, so that answers can't be copied. What it stands for in
// the end is a variant such as personal-7f3a9c, which says the seed.
const Personal = "personal"

var personalVariant = regexp.MustCompile(`^` + Personal + `-[0-9a-f]{6}$`)

// DrawPersonal picks a seed: it returns the name of a personal variant.
func DrawPersonal() string {
	b := make([]byte, 3)
	rand.Read(b) // never fails, crypto/rand
	return Personal + "-" + hex.EncodeToString(b)
}

// personalTitles name the variant where learners choose one.
var personalTitles = map[string]string{
	"en": "Your own names and addresses",
	"id": "Nama dan alamat milik Anda sendiri",
	"vi": "Tên và địa chỉ của riêng bạn",
	"ko": "나만의 이름과 주소",
}

// Drawn is what is written in place of a lab's own names and networks. Who keeps it
// has the same lab again when the drawing, or what it had to avoid, has changed.
type Drawn struct {
	Names    map[string]string             `json:"names,omitempty"`
	Networks map[netip.Prefix]netip.Prefix `json:"networks,omitempty"`
}

// personal makes the plans of the personal variants. It is safe for concurrent
// use.
type personal struct {
	offered bool // otherwise there are only those that were begun before an edit
	source  *source
	drawing *drawing

	mu    sync.Mutex
	plans map[string]*Plan // those that were asked for lately
}

// maxPersonal is how many plans are kept: a session keeps its own, but its texts
// are asked for beside it.
const maxPersonal = 32

func (p *personal) plan(variant string, kept Drawn) (*Plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	drawn := p.drawing.draw(variant, kept)
	if plan, ok := p.plans[variant]; ok && reflect.DeepEqual(plan.Drawn, drawn) {
		return plan, nil
	}
	plan, problems := p.source.plan(variant, substitution{words: p.drawing.replaced(drawn)})
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	plan.Drawn = drawn
	if len(p.plans) >= maxPersonal {
		clear(p.plans)
	}
	p.plans[variant] = plan
	return plan, nil
}

// drawing knows what of a lab may be drawn anew, and what must not be met.
type drawing struct {
	lab      string
	names    []string
	networks []netip.Prefix
	words    map[string]bool             // all words of the lab and its texts
	inside   map[netip.Addr]netip.Prefix // addresses that move with their network
	written  map[netip.Addr]bool         // all addresses
	foreign  map[netip.Prefix]bool       // addresses and networks that stay
	problems []error
}

// maxName is the longest name of an interface.
const maxName = 15

var numbered = regexp.MustCompile(`^([A-Za-z][A-Za-z_-]*)([0-9]*)$`)

// ranges are the private networks; a network is drawn from the one it is in.
var ranges = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16")}

// newDrawing judges a lab's personal section. The texts are all that a learner
// may come to see of the lab, each with the place where it stands.
func newDrawing(doc *document, raw *labFile, texts []located) *drawing {
	d := &drawing{lab: raw.ID.Text, words: map[string]bool{}, inside: map[netip.Addr]netip.Prefix{}, written: map[netip.Addr]bool{}, foreign: map[netip.Prefix]bool{}}
	if raw.Personal == nil {
		for _, t := range texts {
			d.read(t)
		}
		return d
	}
	fail := func(at spot, format string, a ...any) {
		d.problems = append(d.problems, &Problem{doc.file, at.Line, at.Column, fmt.Sprintf(format, a...), ""})
	}
	for _, n := range raw.Personal.Networks {
		p, err := netip.ParsePrefix(n.Text)
		i := slices.IndexFunc(ranges, func(r netip.Prefix) bool { return err == nil && r.Overlaps(p) && r.Bits() < p.Bits() })
		switch {
		case err != nil || !p.Addr().Is4():
			fail(n, "%q is not a network such as 172.16.0.0/24", n.Text)
		case p != p.Masked():
			fail(n, "%s is an address inside a network: write the network, %s", p, p.Masked())
		case i < 0:
			fail(n, "%s can't be drawn anew: it must be a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16", p)
		case slices.ContainsFunc(d.networks, p.Overlaps):
			fail(n, "%s overlaps a network above it: name the larger one only", p)
		default:
			d.networks = append(d.networks, p)
		}
	}
	for _, t := range texts {
		d.read(t)
	}
	fixed := map[string]string{"lo": "the kernel", "tun0": "socat"}
	for _, m := range raw.Machines {
		if m.Kind == string(topo.KindSwitch) {
			fixed["br0"] = "the switch " + m.Name.Text
		}
	}
	for _, n := range raw.Personal.Names {
		m := numbered.FindStringSubmatch(n.Text)
		by, taken := fixed[n.Text]
		switch {
		case m == nil || len(m[1])+3 > maxName:
			fail(n, "%q can't be drawn anew: a name here is letters and then perhaps digits, such as kon or veth1, with %d letters at most", n.Text, maxName-3)
		case taken:
			fail(n, "%q can't be drawn anew: %s names it so", n.Text, by)
		case slices.Contains(d.names, n.Text):
			fail(n, "%q is listed twice", n.Text)
		case !d.words[n.Text]:
			fail(n, "%q is drawn anew, but stands nowhere in the lab: take it out, or correct it", n.Text)
		default:
			d.names = append(d.names, n.Text)
		}
	}
	for i, p := range d.networks {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(d.inside)), p.Contains) {
			fail(raw.Personal.Networks[i], "no address of %s stands in the lab: take it out, or correct it", p)
		}
	}
	if len(raw.Personal.Names)+len(raw.Personal.Networks) == 0 {
		at := doc.at([]string{"personal"})
		fail(spot{Line: at.Line, Column: at.Column}, "personal says nothing: list names, networks, or both")
	}
	return d
}

// located is a text and where it stands.
type located struct {
	file string
	spot
}

// read notes the words of a text, and what of it moves with a network.
func (d *drawing) read(t located) {
	for start, end := range words(t.Text) {
		word := t.Text[start:end]
		d.words[word] = true
		for part := range strings.SplitSeq(word, ".") {
			d.words[part] = true
		}
		addr, err := netip.ParseAddr(word)
		if err != nil {
			d.partial(t, word, start)
			continue
		}
		if !addr.Is4() {
			continue
		}
		d.written[addr] = true
		p := netip.PrefixFrom(addr, 32)
		if rest, ok := strings.CutPrefix(t.Text[end:], "/"); ok {
			digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
			if bits, err := strconv.Atoi(digits); err == nil && bits <= 32 {
				p = netip.PrefixFrom(addr, bits)
			}
		}
		i := slices.IndexFunc(d.networks, func(n netip.Prefix) bool { return n.Contains(addr) })
		switch {
		case i < 0 && p.Bits() > 0:
			d.foreign[p.Masked()] = true
		case i >= 0 && p.Bits() < d.networks[i].Bits():
			d.fail(t, start, "%s reaches beyond %s, which is drawn anew: name the larger network under personal", p, d.networks[i])
		case i >= 0:
			d.inside[addr] = d.networks[i]
		}
	}
}

// partial finds an address of which a part is written. What all addresses of a
// network have in common, such as 172.18, moves along; anything else, such as
// 172.18.0.x, would stay as it is.
func (d *drawing) partial(t located, word string, at int) {
	for _, n := range d.networks {
		common, whole := shared(n)
		if common != "" && (word == common && !whole || strings.HasPrefix(word, common+".")) {
			d.fail(t, at, "%q is a part of an address of %s, which is drawn anew: write the whole address", word, n)
		}
	}
}

// shared is how all addresses of a network begin, in whole numbers, and whether
// that is all that they have in common. One number alone is not told from others.
func shared(n netip.Prefix) (common string, whole bool) {
	octets := n.Bits() / 8
	if octets < 2 {
		return "", false
	}
	return strings.Join(strings.Split(n.Addr().String(), ".")[:octets], "."), n.Bits()%8 == 0
}

func (d *drawing) fail(t located, at int, format string, a ...any) {
	before := t.Text[:at]
	line, column := t.Line+strings.Count(before, "\n"), t.Column
	if i := strings.LastIndexByte(before, '\n'); i >= 0 {
		column, before = 1, before[i+1:]
	}
	if t.plain {
		column += len([]rune(before))
	}
	d.problems = append(d.problems, &Problem{t.file, line, column, fmt.Sprintf(format, a...), ""})
}

// draw picks the names and networks of a variant, the same ones each time, less
// those that are kept. Of these a network that lies in one of the lab's now is given
// up: half of a network can't be drawn.
func (d *drawing) draw(variant string, kept Drawn) Drawn {
	out := Drawn{Names: map[string]string{}, Networks: map[netip.Prefix]netip.Prefix{}}
	maps.Copy(out.Names, kept.Names)
	for n, with := range kept.Networks {
		if !slices.ContainsFunc(d.networks, func(now netip.Prefix) bool { return now.Bits() < n.Bits() && now.Overlaps(n) }) {
			out.Networks[n] = with
		}
	}
	taken := map[string]bool{}
	for _, name := range out.Names {
		if m := numbered.FindStringSubmatch(name); m != nil {
			taken[m[2]] = true
		}
	}
	for _, name := range d.names {
		m := numbered.FindStringSubmatch(name)
		if out.Names[name] != "" {
			continue
		}
		// Names with one number keep having one: what belongs together still looks
		// so.
		var alike []string
		var theirs string
		for _, other := range d.names {
			if o := numbered.FindStringSubmatch(other); o[2] != m[2] || ending(other) != ending(name) {
				continue
			}
			if is := out.Names[other]; is == "" {
				alike = append(alike, other)
			} else {
				theirs = numbered.FindStringSubmatch(is)[2]
			}
		}
		for try := 0; ; try++ {
			least, most := uint64(10), uint64(100)
			if try > 300 {
				least, most = 100, 1000
			}
			number := strconv.FormatUint(least+d.random(variant, "name "+m[2]+ending(name), try)%(most-least), 10)
			if theirs != "" && try == 0 {
				number = theirs
			}
			if taken[number] && number != theirs || ending(number) != ending(name) || slices.ContainsFunc(alike, func(n string) bool { return d.words[stem(n)+number] }) {
				continue
			}
			taken[number] = true
			for _, n := range alike {
				out.Names[n] = stem(n) + number
			}
			break
		}
	}
	for _, n := range d.networks {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(out.Networks)), n.Overlaps) {
			out.Networks[n] = d.network(variant, n, slices.Collect(maps.Values(out.Networks)))
		}
	}
	return out
}

// replaced has for each word of the lab that was drawn anew what it became.
func (d *drawing) replaced(drawn Drawn) map[string]string {
	out := maps.Clone(drawn.Names)
	for n, with := range drawn.Networks {
		for addr := range d.written {
			if n.Contains(addr) {
				out[addr.String()] = moved(addr, with).String()
			}
		}
		if common, whole := shared(n); whole && d.words[common] {
			out[common], _ = shared(with)
		}
	}
	return out
}

// network draws another network of the same size from the same range.
func (d *drawing) network(variant string, n netip.Prefix, drawn []netip.Prefix) netip.Prefix {
	within := ranges[slices.IndexFunc(ranges, func(r netip.Prefix) bool { return r.Contains(n.Addr()) })]
	for try := range 10_000 {
		base := within.Addr().As4()
		number := uint32(d.random(variant, "network "+n.String(), try)) & (1<<(n.Bits()-within.Bits()) - 1)
		at := binary.BigEndian.Uint32(base[:]) | number<<(32-n.Bits())
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, at))), n.Bits())
		clash := slices.ContainsFunc(d.networks, p.Overlaps) || slices.ContainsFunc(drawn, p.Overlaps)
		for f := range d.foreign {
			clash = clash || p.Overlaps(f)
		}
		if !clash {
			return p
		}
	}
	return n // the range is full: the network stays
}

// moved is the address with the same host part in another network.
func moved(a netip.Addr, to netip.Prefix) netip.Addr {
	old, base := a.As4(), to.Addr().As4()
	mask := uint32(1)<<(32-to.Bits()) - 1
	at := binary.BigEndian.Uint32(base[:]) | binary.BigEndian.Uint32(old[:])&mask
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, at)))
}

// random is a number that depends on the seed, the lab and the use only, so that
// a name that is added to the lab leaves the others as they are.
func (d *drawing) random(variant, use string, try int) uint64 {
	h := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %d", variant, d.lab, use, try))
	return binary.BigEndian.Uint64(h[:])
}

func stem(name string) string { return numbered.FindStringSubmatch(name)[1] }

// ending is how a name sounds at its end in Korean, where the particle behind it
// depends on that: a vowel, an l, or another consonant.
func ending(name string) string {
	switch last := name[len(name)-1]; {
	case strings.ContainsRune("2459aeiouy", rune(last)):
		return "vowel"
	case strings.ContainsRune("178lr", rune(last)):
		return "l"
	}
	return "consonant"
}
