package journey

import (
	"syscall"
	"testing"
	"time"

	"kabel/server/packet"
)

// benchFrames are n packets on six hops each, 40 µs apart, in the order of time,
// as routedPings, overlayPings and the like send them.
func benchFrames(play func(*sim)) *sim {
	s := newSim(twoHosts, twoHostsOwn)
	play(s)
	return s
}

// BenchmarkRecord: what one record costs, against the floor of peeling it alone.
// Run both in one go; the ratio is what counts.
func BenchmarkRecord(b *testing.B) {
	for _, c := range []struct {
		name string
		play func(*sim)
	}{
		{"bridged", func(s *sim) { bridgePings(s, 5000) }},
		{"routed", func(s *sim) { routedPings(s, 5000) }},
		{"translated", func(s *sim) { masqueradedPings(s, 2500) }},
		{"vxlan", func(s *sim) { overlayPings(s, 2500) }},
		{"tcp", func(s *sim) { forwardedTCP(s, 600) }},
		{"identical", func(s *sim) { identical(s, 10_000) }},
	} {
		s := benchFrames(c.play)
		b.Run("peel/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			var stack []Header
			defer cpu(b)()
			for i := 0; b.Loop(); i++ {
				stack = Peel(stack[:0], s.records[i%len(s.records)].frame)
			}
		})
		b.Run("add/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			t := New(Options{Local: s.local, Peer: s.peerOf})
			for _, f := range s.flows {
				t.Flow(f.flow)
			}
			span := s.records[len(s.records)-1].frame.Time.Sub(epoch) + time.Second
			var f packet.Frame
			defer cpu(b)()
			for i := 0; b.Loop(); i++ {
				f = *s.records[i%len(s.records)].frame
				f.No = uint64(i)
				f.Time = f.Time.Add(time.Duration(i/len(s.records)) * span)
				t.Add(&f)
				if i%1000 == 0 {
					t.Expire(f.Time)
				}
			}
		})
	}
}

// cpu reports processor time, which says more than the clock on a machine that is
// shared.
func cpu(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

// identical sends n datagrams that are alike in every bit.
func identical(s *sim, n int) {
	h := ip{src: addr("fd01::1"), dst: addr("fd01::2"), protocol: protocolUDP, ttl: 64}
	for i := range n {
		at := epoch.Add(time.Duration(i) * 20 * time.Microsecond)
		s.send(at, bridged(1, 2, h, udp(1, 2, samePayload), ">c1/eth0", "h1/v1", ">h1/v2", "c2/eth0")...)
	}
}
