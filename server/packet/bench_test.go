package packet

import (
	"io"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// BenchmarkDecoding reads the captured frames by turns: a summary and a tree of
// each, and the floor, gopacket's own lazy packet, once only made, which decodes
// nothing, and once with all its layers. It reports the nanoseconds per frame of
// each one's best round, since others use the machine too.
func BenchmarkDecoding(b *testing.B) {
	all := captured(b)
	lazy := gopacket.DecodeOptions{Lazy: true, NoCopy: true}
	newPacket := func(f *Frame) gopacket.Packet {
		if f.Interface.Hardware == HardwareNone {
			first := gopacket.Decoder(layers.LayerTypeIPv4)
			if len(f.Data) > 0 && f.Data[0]>>4 == 6 {
				first = layers.LayerTypeIPv6
			}
			return gopacket.NewPacket(f.Data, first, lazy)
		}
		return gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, lazy)
	}
	w := NewPcapng(io.Discard, 0)
	turns := []struct {
		name string
		do   func(*Frame)
		took time.Duration
	}{
		{name: "floor-lazy", do: func(f *Frame) { newPacket(f) }},
		{name: "floor-layers", do: func(f *Frame) { newPacket(f).Layers() }},
		{name: "summary", do: func(f *Frame) { Summarise(f) }},
		{name: "tree", do: func(f *Frame) { Dissect(f) }},
		{name: "pcapng", do: func(f *Frame) {
			if err := w.WriteFrame(f); err != nil {
				b.Fatal(err)
			}
		}},
	}
	for b.Loop() {
		for i := range turns {
			began := time.Now()
			for j := range all {
				turns[i].do(&all[j].frame)
			}
			if took := time.Since(began); turns[i].took == 0 || took < turns[i].took {
				turns[i].took = took
			}
		}
	}
	for _, t := range turns {
		b.ReportMetric(float64(t.took.Nanoseconds())/float64(len(all)), t.name+"-ns/frame")
	}
	b.ReportMetric(float64(turns[2].took)/float64(turns[0].took), "summary:lazy")
	b.ReportMetric(float64(turns[2].took)/float64(turns[1].took), "summary:layers")
	b.ReportMetric(float64(turns[3].took)/float64(turns[1].took), "tree:layers")
}

// BenchmarkSummarise tells the time of a line by kind of packet.
func BenchmarkSummarise(b *testing.B) {
	for name, words := range map[string]string{"arp": "Who has 10.0.0.2? Tell", "ping": "10.0.0.2: Echo (ping) request", "syn": "[SYN]", "dns": "CNAME web.lab.test A 10.0.1.3", "vxlan": "in VXLAN 42", "error": "Time exceeded", "http": "GET / HTTP"} {
		f := find(b, words)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Summarise(f)
			}
		})
	}
}
