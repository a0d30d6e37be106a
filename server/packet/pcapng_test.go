package packet

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"

	"kabel/sandbox/topo"
)

func TestWiresharkReadsInterfacesDirectionsAndLengths(t *testing.T) {
	ping := find(t, "request id=0x0007 seq=3 ttl=64 · VLAN 10")
	raw := find(t, "UDP fd00::1 > fd00::2: 4000 → 5000 Len=5")
	at := time.Unix(1_700_000_000, 123456789)
	var file bytes.Buffer
	w := NewPcapng(&file, 40)
	for i, f := range []struct {
		node     topo.NodeID
		link     string
		hardware uint16
		out      bool
		data     []byte
	}{
		{"host1", "veth1", HardwareEther, true, ping.Data},
		{"host1/kon", "veth2", HardwareEther, false, ping.Data},
		{"host1", "tun0", HardwareNone, true, raw.Data[14+20:]},
		{"host1", "lo", HardwareLoopback, true, ping.Data},
		{"host1", "veth1", HardwareEther, false, ping.Data[:39]},
	} {
		check(t, w.WriteFrame(&Frame{Interface: Interface{f.node, f.link, f.hardware}, Time: at.Add(time.Duration(i)), Out: f.out, Length: len(f.data), Data: f.data}))
	}
	check(t, w.WriteDrops(at.Add(time.Second), 7, 3))
	file2 := bytes.NewBuffer(slices.Clone(file.Bytes()))

	cmd := exec.Command("tshark", "-n", "-r", "-", "-T", "fields", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction", "-e", "frame.len", "-e", "frame.cap_len", "-e", "frame.time_epoch", "-e", "frame.encap_type", "-e", "frame.protocols")
	cmd.Stdin = &file
	out, err := cmd.Output()
	check(t, err)
	want := []string{ // directions: 1 inbound, 2 outbound; encapsulations: 1 Ethernet, 7 raw IP
		"host1:veth1\t0x00000002\t82\t40\t1700000000.123456789\t1\teth:ethertype:vlan:ethertype:ip:icmp",
		"host1/kon:veth2\t0x00000001\t82\t40\t1700000000.123456790\t1\teth:ethertype:vlan:ethertype:ip:icmp",
		"host1:tun0\t0x00000002\t53\t40\t1700000000.123456791\t7\traw:ipv6:udp",
		"host1:lo\t0x00000002\t82\t40\t1700000000.123456792\t1\teth:ethertype:vlan:ethertype:ip:icmp",
		"host1:veth1\t0x00000001\t39\t39\t1700000000.123456793\t1\teth:ethertype:vlan:ethertype:ip:icmp",
	}
	if got := strings.Split(strings.TrimSpace(string(out)), "\n"); !slices.Equal(got, want) {
		t.Errorf("tshark reads\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	r, err := pcapgo.NewNgReader(file2, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	check(t, err)
	if got := r.SectionInfo().Application; got != "Kabel" {
		t.Errorf("application %q", got)
	}
	for err == nil {
		_, _, err = r.ReadPacketData()
	}
	got := []string{}
	for i := range r.NInterfaces() {
		on, err := r.Interface(i)
		check(t, err)
		got = append(got, fmt.Sprintf("%s snap %d received %d dropped %d", on.Name, on.SnapLength, on.Statistics.PacketsReceived, on.Statistics.PacketsDropped))
	}
	if want := []string{
		"host1:veth1 snap 40 received 2 dropped 18446744073709551615", // not known
		"host1/kon:veth2 snap 40 received 1 dropped 18446744073709551615",
		"host1:tun0 snap 40 received 1 dropped 18446744073709551615",
		"host1:lo snap 40 received 1 dropped 18446744073709551615",
		"all:lost snap 40 received 0 dropped 10",
	}; !slices.Equal(got, want) {
		t.Errorf("statistics\n%s", strings.Join(got, "\n"))
	}
}

func TestTheLossOfOneInterfaceIsItsOwn(t *testing.T) {
	var file bytes.Buffer
	w := NewPcapng(&file, 0)
	f := find(t, "VLAN 10")
	check(t, w.WriteFrame(f))
	check(t, w.WriteDrops(time.Unix(1, 0), 5, 0))
	check(t, w.WriteDrops(time.Unix(2, 0), 6, 1))
	r, err := pcapgo.NewNgReader(&file, pcapgo.NgReaderOptions{})
	check(t, err)
	for err == nil {
		_, _, err = r.ReadPacketData()
	}
	on, err := r.Interface(0)
	check(t, err)
	if r.NInterfaces() != 1 || on.Statistics.PacketsDropped != 7 {
		t.Errorf("%d interfaces, %+v", r.NInterfaces(), on)
	}
}

func TestWhereNothingWasLostEachInterfaceSaysSo(t *testing.T) {
	var file bytes.Buffer
	w := NewPcapng(&file, 0)
	f := *find(t, "VLAN 10")
	check(t, w.WriteFrame(&f))
	f.Interface.Link = "another"
	check(t, w.WriteFrame(&f))
	check(t, w.WriteDrops(time.Unix(1, 0), 0, 0))
	r, err := pcapgo.NewNgReader(&file, pcapgo.NgReaderOptions{})
	check(t, err)
	for err == nil {
		_, _, err = r.ReadPacketData()
	}
	if r.NInterfaces() != 2 {
		t.Errorf("%d interfaces", r.NInterfaces())
	}
	for i := range r.NInterfaces() {
		if on, err := r.Interface(i); err != nil || on.Statistics.PacketsDropped != 0 || on.Statistics.PacketsReceived != 1 {
			t.Errorf("%+v, %v", on, err)
		}
	}
}

// A stream is read as it grows: each frame is complete with its own write, and a
// reader sees the file before there is a packet.
func TestEachFrameIsWrittenAtOnce(t *testing.T) {
	var file bytes.Buffer
	w := NewPcapng(&file, 0)
	check(t, w.WriteHeader())
	header := file.Len()
	if header == 0 {
		t.Error("no header")
	}
	check(t, w.WriteHeader())
	if file.Len() != header {
		t.Error("a second header")
	}
	for i, s := range captured(t)[:10] {
		check(t, w.WriteFrame(&s.frame))
		if got := len(readPcapng(t, bytes.NewReader(file.Bytes()))); got != i+1 {
			t.Fatalf("%d frames after %d", got, i+1)
		}
	}
}

type brokenPipe struct{}

var errBroken = errors.New("broken pipe")

func (brokenPipe) Write([]byte) (int, error) { return 0, errBroken }

func TestAWriterThatIsGoneIsAnError(t *testing.T) {
	w := NewPcapng(brokenPipe{}, 0)
	if err := w.WriteFrame(find(t, "VLAN 10")); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	if err := w.WriteDrops(time.Unix(1, 0), 1, 1); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

func TestTheCorpusComesBackAsItWas(t *testing.T) {
	var file bytes.Buffer
	w := NewPcapng(&file, 0)
	all := captured(t)
	for i := range all {
		check(t, w.WriteFrame(&all[i].frame))
	}
	for i, f := range readPcapng(t, &file) {
		want := all[i].frame
		if f.Interface != want.Interface || !f.Time.Equal(want.Time) || f.Length != want.Length || !bytes.Equal(f.Data, want.Data) {
			t.Fatalf("frame %d: %+v, want %+v", i+1, f, want)
		}
	}
}
