package filter

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

func TestAnErrorSaysWhereAndWhatWasMeant(t *testing.T) {
	for _, c := range []struct {
		expression string
		position   int
		message    string // a part of it
		suggestion string
	}{
		// Words.
		{"hots 10.0.0.1", 0, `"hots" is not a word`, "host"},
		{"tcp and prot 80", 8, `"prot" is not a word`, "port"},
		{"imcp", 0, `"imcp" is not a word`, "icmp"},
		{"ICMP", 0, `"ICMP" is not a word`, "icmp"},
		{"xyzzy", 0, `"xyzzy" is not a word`, ""},
		{"http", 0, `"http" is not a word`, "port http"},
		{"tcp and dns", 8, `"dns" is not a word`, "port domain"},
		{"ping", 0, `"ping" is not a word`, "icmp or icmp6"},
		{"gre", 0, `"gre" is not a word`, "proto gre"},
		{"ipv6", 0, `"ipv6" is not a word`, "ip6"},
		{"icmp ad tcp", 5, `"ad" is not a word`, "and"},
		{"icmp tcp", 5, `"and" or "or" is missing`, "and tcp"},
		{"icmp & tcp", 5, "combines numbers", "and"},
		{"icmp | tcp", 5, "combines numbers", "or"},
		{"gateway 10.0.0.1", 0, `"gateway" is not supported`, ""},
		{"mpls", 0, `"mpls" is not supported`, "ether proto 0x8847"},
		{"protochain 6", 0, `"protochain" is not supported`, "proto"},
		{"10.0.0.1", 0, "an address stands here", "host 10.0.0.1"},
		{"fe80::1", 0, "an address stands here", "host fe80::1"},
		{"02:00:00:00:00:01", 0, "an address stands here", "ether host 02:00:00:00:00:01"},
		{"tcp or 80", 7, "a number stands here", "port 80"},
		{"icmp and 10.0.0.1", 9, "an address stands here", "host 10.0.0.1"},

		// Ends and brackets.
		{"icmp and", 8, "the expression ends where a condition should follow", ""},
		{"not", 3, "the expression ends", ""},
		{"host", 4, "the expression ends where an address should follow", ""},
		{"port", 4, "the expression ends where a port should follow", ""},
		{"host and icmp", 5, `"and" stands where an address should`, ""},
		{"(icmp or tcp", 0, `this "(" is never closed`, ""},
		{"icmp)", 4, `this ")" closes nothing`, ""},
		{"()", 1, `")" stands where a condition should`, ""},
		{"port (80 443)", 9, `"and" or "or" is missing`, "and 443"},
		{"icmp; tcp", 4, `';' has no meaning`, ""},
		{"host ä", 5, `'ä' has no meaning`, ""},
		{"ether proto \\", 12, "a backslash stands before a name", ""},

		// Values.
		{"host web", 5, "names are not looked up", ""},
		{"host 10.0.0.256", 5, `"10.0.0.256" is not an address`, ""},
		{"host 10.0.0.0.1", 5, "is not an address", ""},
		{"host fe80:::1", 5, "is not an address", ""},
		{"host 10.0.0.0/8", 13, "a host has no prefix length", "net 10.0.0.0/8"},
		{"src 10.0.0.0/8", 12, "a host has no prefix length", "net 10.0.0.0/8"},
		{"host 10.0.1", 5, "is a network", "net 10.0.1"},
		{"net 10.0.0.1/24", 4, "bits outside its mask", "net 10.0.0.0/24"},
		{"net 10.0.0.0/33", 13, "a prefix length from 0 to 32", ""},
		{"net 2001:db8::/129", 15, "a prefix length from 0 to 128", ""},
		{"net 2001:db8::1/32", 4, "bits outside its mask", "net 2001:db8::/32"},
		{"net 10.0.0.1 mask 255.0.0.0", 4, "bits outside its mask", ""},
		{"net 10.0.0.0 mask 8", 18, "a mask such as", ""},
		{"net fe80:: mask ffff::", 16, "a mask such as", ""},
		{"host 02:00:00:00:00:01", 5, "is an Ethernet address", "ether host 02:00:00:00:00:01"},
		{"ether host 10.0.0.1", 11, "is an IP address", "host 10.0.0.1"},
		{"ether host 02:00:00", 11, "is not an Ethernet address", ""},
		{"ether net 02:00:00:00:00:01", 10, "have no networks", "ether host 02:00:00:00:00:01"},
		{"ether 02:00:00:00:00:01", 6, `"ether" wants`, ""},
		{"port 65536", 5, "ports end at 65535", ""},
		{"port 99999999999", 5, "no number of 32 bits", ""},
		{"port htpt", 5, "not a port that is known by name", "http"},
		{"port 20-80", 5, "is a range", "portrange 20-80"},
		{"portrange 20-htps", 13, "not a port that is known by name", "https"},
		{"portrange 20-70000", 13, "ports end at 65535", ""},
		{"tcp port ntp", 9, "ntp is a port of udp", "tcp port 123"},
		{"proto 256", 6, "protocols end at 255", ""},
		{"proto upd", 6, "not a protocol", "udp"},
		{"ether proto 65536", 12, "protocols end at 65535", ""},
		{"ether proto apr", 12, "not a protocol", "arp"},
		{"vlan 4096", 5, "ends at 4095", ""},
		{"vxlan 16777216", 6, "ends at 16777215", ""},
		{"less ip", 5, `"ip" stands where a length should`, ""},

		// What doesn't go together.
		{"icmp and tcp host 10.0.0.1", 9, "tcp has no addresses", "tcp and host 10.0.0.1"},
		{"ip port 80", 0, "ip has no ports", "ip and port 80"},
		{"icmp port 80", 0, "icmp has no ports", ""},
		{"ip6 host 10.0.0.1", 0, "ip6 does not go with 10.0.0.1", "host 10.0.0.1"},
		{"arp net 2001:db8::/32", 0, "arp does not go with 2001:db8::", "net 2001:db8::"},
		{"src proto 6", 0, "no source or destination", ""},
		{"tcp proto 6", 0, `does not stand before "proto"`, "proto 6"},
		{"ip6 broadcast", 4, "ip6 has no broadcast", "ip6 multicast"},
		{"tcp multicast", 4, "tcp has no multicast", "ip multicast"},
		{"src or src host 10.0.0.1", 7, "src is named twice", "dst"},

		// Arithmetic.
		{"tcp[tcpflag] = 2", 4, `"tcpflag" stands where`, "tcpflags"},
		{"tcp[13] & tcp-psh != 0", 10, `"tcp-psh" stands where`, "tcp-push"},
		{"tcp[13", 6, `the expression ends where "]" should follow`, ""},
		{"tcp[13]", 7, "the expression ends where a comparison", ""},
		{"tcp[13] and ip", 8, `"and" stands where a comparison`, ""},
		{"tcp[0:3] = 1", 6, "1, 2 or 4 bytes", ""},
		{"tpc[0] = 1", 0, "tpc has no bytes", "tcp"},
		{"ip[70000] = 1", 3, "no packet has a byte at 70000", ""},
		{"ip[-1] = 1", 3, "no packet has a byte at -1", ""},
		{"ether[ip[0]] = 1", 6, "must be a number", ""},
		{"len / 0 = 1", 4, "division by zero", ""},
		{"len << 32 = 1", 4, "count of a shift", ""},
		{"1 < len < 5", 8, "only two values", ""},
		{"len => 5", 5, `">" stands where`, ""},
		{"len = 5 = 6", 8, "only two values", ""},
		{"(len + 5", 0, `this "(" is never closed`, ""},

		// Sizes.
		{strings.Repeat("vxlan and ", 16) + "vxlan", 160, "too many tunnels", ""},
		{"ip and len " + strings.Repeat("+ (len ", 17) + strings.Repeat(")", 17) + " = 0", 7, "too deep", ""},
		{strings.Repeat("port 1 or ", 300) + "port 1 and not port 2", 0, "longer than the kernel takes", ""},
		{strings.Repeat(" ", maxExpression+1), maxExpression, "longer than 4096 bytes", ""},
	} {
		_, err := Compile(c.expression)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: no error", c.expression)
			continue
		}
		if e.Position != c.position || !strings.Contains(e.Message, c.message) || e.Suggestion != c.suggestion {
			t.Errorf("%.80q: at %d: %s (%q); want at %d: …%s… (%q)", c.expression, e.Position, e.Message, e.Suggestion, c.position, c.message, c.suggestion)
		}
	}
}

func TestASuggestionCompiles(t *testing.T) {
	for word, better := range instead {
		switch better {
		case "ether host", "ether", "portrange", "src", "dst", "proto", "and", "or", "not", "len":
			continue // what follows them is missing
		}
		if _, err := Compile(better); err != nil {
			t.Errorf("%q for %q: %v", better, word, err)
		}
	}
}

func TestTheExamplesOfTheReferenceCompile(t *testing.T) {
	source, err := os.ReadFile("filter.go")
	if err != nil {
		t.Fatal(err)
	}
	reference, _, _ := strings.Cut(string(source), "\npackage filter")
	examples := 0
	for line := range strings.Lines(reference) {
		text, ok := strings.CutPrefix(line, "//\t")
		if !ok || strings.HasPrefix(text, "[") {
			continue
		}
		for e := range strings.SplitSeq(strings.TrimSpace(text), "  ") {
			if _, err := Compile(e); err != nil {
				t.Errorf("%s: %v", e, err)
			}
			examples++
		}
	}
	if examples < 50 {
		t.Errorf("only %d examples were found", examples)
	}
}

func TestNamedPortsAreTheirNumbers(t *testing.T) {
	for name, s := range services {
		number := fmt.Sprintf("port %d", s.port)
		if s.transport != "" {
			number = s.transport + " " + number
		}
		if a, b := listing(t, "port "+name), listing(t, number); a != b {
			t.Errorf("port %s is not %s:\n%s\n%s", name, number, a, b)
		}
	}
	if a, b := listing(t, "portrange ftp-data-http-alt"), listing(t, "tcp portrange 20-8080"); a != b {
		t.Errorf("a range of names:\n%s\n%s", a, b)
	}
}

func listing(t *testing.T, expression string) string {
	t.Helper()
	f, err := Compile(expression)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	ins, _ := bpf.Disassemble(f.Program())
	return fmt.Sprint(ins)
}

func TestAProgramKeepsAsManyBytesAsAsked(t *testing.T) {
	f, err := Compile("icmp")
	if err != nil {
		t.Fatal(err)
	}
	count := func(program []bpf.RawInstruction, k uint32) (n int) {
		for _, i := range program {
			if i.Op == opReturn && i.K == k {
				n++
			}
		}
		return n
	}
	if count(f.ProgramSnap(96), 96) != 1 || count(f.Program(), WholePacket) != 1 || count(f.ProgramSnap(96), 0) != 1 {
		t.Errorf("returns: %v", f.ProgramSnap(96))
	}
}

func TestDirectionAndLengthAreThoseOfTheFrame(t *testing.T) {
	ping := packets()[0].data
	for _, c := range []struct {
		expression string
		out        bool
		length     int
		want       bool
	}{
		{"inbound", false, 60, true}, {"inbound", true, 60, false},
		{"outbound", false, 60, false}, {"outbound", true, 60, true},
		{"outbound and icmp", true, 60, true}, {"not outbound", true, 60, false},
		{"len > 1000", false, 1400, true}, {"len > 1000", false, 60, false},
		{"greater 1400", false, 1400, true}, {"less 1400", false, 1401, false},
	} {
		f, err := Compile(c.expression)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Match(ping, 65534, c.out, c.length); got != c.want {
			t.Errorf("%s, out %v, length %d: %v", c.expression, c.out, c.length, got)
		}
	}
}

// A test skips at most 255 instructions, so that long lists need jumps.
func TestLongFiltersMeanTheSame(t *testing.T) {
	var list []string
	for i := range 150 {
		list = append(list, fmt.Sprintf("172.31.%d.%d", i/16, i))
	}
	for _, e := range []string{
		"host 10.0.0.2 or " + strings.Join(list, " or "),
		"host " + strings.Join(list, " or ") + " or 10.0.0.2",
		"not host " + strings.Join(list, " and not ") + " and host 10.0.0.2",
		"host 10.0.0.2 and not (" + strings.Join(list, " or ") + ")",
	} {
		f, short := mustCompile(t, e), mustCompile(t, "host 10.0.0.2")
		if len(f.Program()) < 500 {
			t.Errorf("%d instructions are not long", len(f.Program()))
		}
		for _, s := range frames() {
			if got, want := f.Match(s.data, 1, false, s.length), short.Match(s.data, 1, false, s.length); s.whole && got != want {
				t.Errorf("%.40s… on %s: %v", e, s.name, got)
			}
		}
	}
}

func mustCompile(t testing.TB, e string) *Filter {
	t.Helper()
	f, err := Compile(e)
	if err != nil {
		t.Fatalf("%s: %v", e, err)
	}
	return f
}

// inMemory is a program for the machine of x/net/bpf, which has no extensions:
// what they say of a received frame of a sort is put in their place.
func inMemory(t testing.TB, program []bpf.RawInstruction, hardware uint32) *bpf.VM {
	t.Helper()
	ins, known := bpf.Disassemble(program)
	if !known {
		t.Fatalf("unknown instructions in %v", program)
	}
	for i, in := range ins {
		if x, ok := in.(bpf.LoadExtension); ok && x.Num != bpf.ExtLen {
			ins[i] = bpf.LoadConstant{Dst: bpf.RegA}
			if x.Num == bpf.ExtLinkLayerType {
				ins[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: hardware}
			}
		}
	}
	vm, err := bpf.NewVM(ins)
	if err != nil {
		t.Fatalf("%v: %v", ins, err)
	}
	return vm
}

func TestTheMachineOfXNetAgrees(t *testing.T) {
	for _, l := range links() {
		for _, e := range agreed {
			f := mustCompile(t, e)
			vm := inMemory(t, f.Program(), uint32(l.hardware))
			for _, s := range l.samples {
				n, err := vm.Run(s.data)
				if err != nil {
					t.Fatal(err)
				}
				if got := f.Match(s.data, l.hardware, false, len(s.data)); got != (n > 0) {
					t.Errorf("%s: %q on %s: %v, x/net/bpf %d", l.name, e, s.name, got, n)
				}
			}
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, e := range agreed {
		f.Add(e)
	}
	for _, d := range differs {
		f.Add(d.expression)
	}
	f.Add("vxlan 1 or 2 and (geneve or not outbound) and ip[len - tcp[0] / udp[2:2]] % 3 >= -ip[1:4]")
	ether, raw := frames(), bareFrames()
	f.Fuzz(func(t *testing.T, expression string) {
		c, err := Compile(expression)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Position < 0 || e.Position > len(expression) || e.Message == "" {
				t.Errorf("%q: %v", expression, err)
			}
			return
		}
		program := c.Program()
		if len(program) > maxInstructions {
			t.Errorf("%q: %d instructions", expression, len(program))
		}
		inMemory(t, program, 1)
		var stored [scratchSize]bool
		for _, s := range c.steps { // as the kernel checks; jumps only lead forward
			switch s.do {
			case store:
				stored[s.k] = true
			case loadScratch, scratchX:
				if !stored[s.k] {
					t.Errorf("%q: word %d is loaded before it is stored", expression, s.k)
				}
			case invalid:
				t.Errorf("%q: an instruction that the machine doesn't know", expression)
			}
		}
		for i := range 40 {
			s, r := ether[i*37%len(ether)], raw[i*7%len(raw)]
			c.Match(s.data, 1, i%2 == 0, s.length)
			c.Match(r.data, 65534, i%2 == 0, r.length)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	ping := ether(macB, macA, 0x0800, packets()[0].data)
	for _, e := range []string{"", "ip", "icmp", "tcp port 80", "host 10.0.0.2 and icmp", "vxlan and icmp"} {
		f := mustCompile(b, e)
		b.Run(fmt.Sprintf("%q", e), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.Match(ping, 1, false, len(ping))
			}
		})
	}
	b.Run("x-net-bpf ip only", func(b *testing.B) {
		vm, err := bpf.NewVM([]bpf.Instruction{
			bpf.LoadAbsolute{Off: 12, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x0800, SkipFalse: 1},
			bpf.RetConstant{Val: WholePacket},
			bpf.RetConstant{Val: 0},
		})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := vm.Run(ping); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := Compile("host 10.0.0.1 and (tcp port 80 or 443 or icmp) and not vlan"); err != nil {
			b.Fatal(err)
		}
	}
}
