package journey

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kabel/server/packet"
)

// captured reads what testdata/record.py has recorded: real frames of real
// namespaces, as every interface saw them.
func captured(t testing.TB, name string) *sim {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	var head struct {
		Cables map[string]string
		Owners map[string][]string
	}
	lines.Scan()
	if err := json.Unmarshal(lines.Bytes(), &head); err != nil {
		t.Fatal(err)
	}
	s := newSim(head.Cables, head.Owners)
	for lines.Scan() {
		var r struct {
			At    int64
			Place string
			HW    uint16
			Out   bool
			Len   int
			Data  string
			Flow  []json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.Flow != nil {
			var fl told
			var protocol uint8
			ways := [2]Tuple{}
			if err := json.Unmarshal(r.Flow[0], &protocol); err != nil {
				t.Fatal(err)
			}
			for i := range ways {
				var ends [2][2]any
				if err := json.Unmarshal(r.Flow[1+i], &ends); err != nil {
					t.Fatal(err)
				}
				end := func(e [2]any) netip.AddrPort {
					return netip.AddrPortFrom(addr(e[0].(string)), uint16(e[1].(float64)))
				}
				ways[i] = Tuple{end(ends[0]), end(ends[1])}
			}
			fl.flow = Flow{Protocol: protocol, Original: ways[0], Reply: ways[1]}
			fl.arrives = time.Unix(0, r.At).Add(time.Duration(s.rand.IntN(60)) * time.Millisecond)
			s.flows = append(s.flows, fl)
			continue
		}
		data, err := base64.StdEncoding.DecodeString(r.Data)
		if err != nil {
			t.Fatal(err)
		}
		s.now = time.Unix(0, r.At)
		at := r.Place
		if r.Out {
			at = ">" + at
		}
		fr := s.frame(at, data)
		fr.Interface.Hardware, fr.Length = r.HW, r.Len
		s.records = append(s.records, record{frame: fr})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

// token is what tells the packets of a recording apart: five digits that no other
// packet has, and which of the two packets with them it is. Nothing of the tracker
// is used to find it.
func token(f *packet.Frame) string {
	i := bytes.Index(f.Data, []byte("KBL"))
	if i < 24 || len(f.Data) < i+8 {
		return ""
	}
	which := "ping" // 16 bytes of time, then the token
	switch {
	case f.Data[i-1] == 'Q':
		which = "question"
	case f.Data[i-1] == 'R':
		which = "reply"
	case f.Data[i-24] == icmpEchoReply || f.Data[i-24] == icmp6EchoReply:
		which = "pong"
	}
	return which + " " + string(f.Data[i+3:i+8])
}

// TestRealCaptures: recordings of real namespaces, handed over in the orders that
// captures may have.
func TestRealCaptures(t *testing.T) {
	for _, c := range []struct {
		name    string
		packets int
		longest string // the way of one packet
	}{
		{"bridge", 70, ">c1/eth0 h1/vc1 >h1/vc2 c2/eth0"},
		{"routed", 82, ">c1/eth0 h1/vc1 h1/br0 >h1/eth0 h2/eth0 >h2/br0 >h2/vc3 c3/eth0"},
		{"translated", 92, ">c1/eth0 h1/vc1 h1/br0 >h1/eth0 h2/eth0 >h2/br0 >h2/vc3 c3/eth0"},
		{"vxlan", 50, ">c1/eth0 h1/vc1 >h1/vxlan0 >h1/eth0 h2/eth0 h2/vxlan0 >h2/vc3 c3/eth0"},
		{"socat", 82, ">c1/eth0 h1/vc1 h1/br0 >h1/tun0 >h1/eth0 h2/eth0 h2/tun0 >h2/br0 >h2/vc3 c3/eth0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(5) {
				s := captured(t, c.name)
				s.rand = rand.New(rand.NewPCG(seed, 9))
				frames := map[uint64]*packet.Frame{}
				want := map[string][]uint64{}
				for _, r := range s.records {
					frames[r.frame.No] = r.frame
					if x := token(r.frame); x != "" {
						want[x] = append(want[x], r.frame.No)
					}
				}
				if len(want) != c.packets {
					t.Fatalf("the recording has %d packets with tokens, want %d", len(want), c.packets)
				}
				exact, answered, found := 0, 0, false
				for _, j := range s.handOver(t) {
					if j.Into != 0 {
						continue
					}
					var nos []uint64
					var way []string
					for _, x := range j.Sightings {
						nos = append(nos, x.No)
						arrow := ""
						if x.Out {
							arrow = ">"
						}
						way = append(way, arrow+string(x.Interface.Node)+"/"+x.Interface.Link)
					}
					x := token(frames[nos[0]])
					if x == "" {
						continue
					}
					found = found || strings.Join(way, " ") == c.longest
					slices.Sort(nos)
					if slices.Equal(nos, want[x]) {
						exact++
					} else {
						t.Errorf("%s: %s, truth %v", x, path(j), want[x])
					}
					if j.State != Delivered && j.State != Answered {
						t.Errorf("%s is %s: %s", x, j.State, path(j))
					}
					if j.State == Answered {
						answered++
					}
				}
				if exact != c.packets {
					t.Errorf("seed %d: %d of %d exact", seed, exact, c.packets)
				}
				if answered < c.packets/2 {
					t.Errorf("seed %d: %d of %d answered", seed, answered, c.packets)
				}
				if !found {
					t.Errorf("seed %d: no packet went %s", seed, c.longest)
				}
			}
		})
	}
}

// TestRealCapturesWithoutATopology: who doesn't know the cables gets the same
// journeys for packets that differ.
func TestRealCapturesWithoutATopology(t *testing.T) {
	for _, name := range []string{"bridge", "routed", "translated", "vxlan", "socat"} {
		s := captured(t, name)
		s.Tracker.options.Peer = nil
		tokens, whole := map[uint64]string{}, map[string]int{}
		for _, r := range s.records {
			if x := token(r.frame); x != "" {
				tokens[r.frame.No] = x
				whole[x] = 0
			}
		}
		for _, j := range s.handOver(t) {
			if j.Into == 0 && tokens[j.Sightings[0].No] != "" {
				whole[tokens[j.Sightings[0].No]]++
			}
		}
		for x, n := range whole {
			if n != 1 {
				t.Errorf("%s: %s is %d journeys", name, x, n)
			}
		}
	}
}
