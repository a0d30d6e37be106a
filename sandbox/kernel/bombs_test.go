package kernel

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/jail"
	"kabel/sandbox/topo"
)

// bombs are lines that a learner may type on host1 of a world like twoHosts. Each
// goes on for as long as it is let.
var bombs = []struct{ name, line string }{
	{"nothing", "sleep 100"},
	{"processor time", "for i in $(seq 50); do while :; do :; done & done; wait"},
	{"processes", "f() { f | f & }; f; sleep 100"},
	{"memory", "while :; do head -c 300M /dev/zero | tail -c 300M >/dev/null; done"},
	{"files in an own tmpfs", "mkdir -p /tmp/m; mount -t tmpfs m /tmp/m; while :; do cat /dev/zero >/tmp/m/big; done"},
	{"open files", `ulimit -n 4096; for i in $(seq 100); do perl -e 'while(open(my $f,"<","/dev/null")){push @f,$f} sleep 100' & done; wait`},
	{"mounts", "mkdir -p /tmp/m; while mount -t tmpfs m /tmp/m; do :; done; sleep 100"},
	{"terminals", `mkdir -p /tmp/pts; mount -t devpts -o newinstance,ptmxmode=666 p /tmp/pts; for i in $(seq 8); do perl -e 'while(open(my $f,"+<","/tmp/pts/ptmx")){push @f,$f} sleep 100' & done; wait`},
	{"named namespaces", "i=0; while ip netns add n$i; do i=$((i+1)); done; while :; do ip netns del n1; ip netns add n1; done"},
	{"unnamed namespaces", "while :; do unshare -n sleep 0.3 & sleep 0.005; done"},
	{"veth pairs", "seq 5000 | sed 's/.*/link add a& type veth peer name b&/' | ip -batch -; sleep 100"},
	{"routes", "ip link set lo up; seq 0 400000 | awk '{printf \"route add 10.%d.%d.%d/32 dev lo\\n\", 100+$1/65536, $1/256%256, $1%256}' | ip -batch -; sleep 100"},
	{"forwarding entries", "ip link add br9 type bridge; seq 0 200000 | awk '{printf \"fdb add 02:00:00:%02x:%02x:%02x dev br9 self\\n\", $1/65536, $1/256%256, $1%256}' | bridge -batch -; sleep 100"},
	{"firewall rules", "nft add table t; nft add chain t c; while :; do seq 300 | sed 's/.*/add rule t c tcp dport & accept/' | nft -f -; done"},
	{"a flood of changes", "ip link add a0 type veth peer name b0; while :; do seq 50 | sed 's/.*/link set a0 up\\nlink set a0 down/' | ip -batch -; done"},
	{"neighbours that nobody is", `ip addr add 10.1.0.1/8 dev eth0; perl -MSocket -e 'for(;;){for $i (1..2**20){$i%50 or socket(S,PF_INET,SOCK_DGRAM,0);send(S,"x",MSG_DONTWAIT,pack_sockaddr_in(9,pack("N",0x0a200000+$i)))}}'`},
	{"packets that nobody reads", `ulimit -n 4096; perl -MSocket -e 'for(1..4000){socket(my $s,PF_INET,SOCK_DGRAM,0);bind($s,pack_sockaddr_in(0,INADDR_LOOPBACK));push @s,$s} $x="x"x60000; for(;;){for(@s){send($_,$x,0,getsockname($_))}}'`},
	{"tracked connections", `iptables -A OUTPUT -m conntrack --ctstate NEW; perl -MSocket -e 'for(;;){socket(my $s,PF_INET,SOCK_DGRAM,0);for $p (1..60000){send($s,"x",0,pack_sockaddr_in($p,INADDR_LOOPBACK))}}'`},
	{storming, `ip link add p type bridge; ip link add q type bridge; for i in 1 2; do ip link add p$i type veth peer name q$i; ip link set p$i up master p; ip link set q$i up master q; done; ip addr add 172.30.0.1/24 dev p; ip link set p up; ip link set q up; ping -b -i 0.01 172.30.0.255 >/dev/null 2>&1`},
}

// storming is the bomb that takes the processors' own queues: until it is
// unplugged, packets may be dropped there.
const storming = "a loop of bridges"

// TestNeighboursOfBombs lets each bomb burn in a world and works in another
// meanwhile: no ping may be lost there and every step must be done. How long that
// takes is told, not judged: it is the machine's as much as ours.
func TestNeighboursOfBombs(t *testing.T) {
	burn := time.Second
	if s := os.Getenv("KABEL_BURN"); s != "" {
		var err error
		if burn, err = time.ParseDuration(s); err != nil {
			t.Fatalf("KABEL_BURN: %v", err)
		}
	}
	h := openHostWith(t, jail.Limits{}, Options{ID: "bombs", Tables: RecordPath})
	neighbour, err := h.Create(t.Context(), twoHosts("neighbour"))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, neighbour, on("host1", topo.NetnsAdd{Name: "kon"}))
	var report strings.Builder
	table := tabwriter.NewWriter(&report, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "in the next world\tsteps\tp50\tp95\tmost\tpings\tlost\trtt p95\tits end\tp95\tmost\tlost\tit saw")
	for i, bomb := range bombs {
		t.Run(bomb.name, func(t *testing.T) {
			w, err := h.Create(t.Context(), twoHosts(fmt.Sprint("bomber", i)))
			if err != nil {
				t.Fatal(err)
			}
			burning, stop := context.WithTimeout(t.Context(), burn)
			defer stop()
			if updates, err := w.Watch(t.Context()); err != nil { // as its page does
				t.Fatal(err)
			} else {
				go func() {
					for range updates {
					}
				}()
			}
			saw := make(chan string, 1)
			go func() {
				r, err := w.Exec(t.Context(), host.ExecRequest{Node: "host1", Argv: []string{"bash", "-c", bomb.line}, Timeout: burn})
				line, _, _ := strings.Cut(strings.TrimSpace(string(r.Stderr)), "\n")
				if err != nil {
					line = err.Error()
				}
				saw <- line
			}()
			during := work(t, neighbour, burning.Done())
			line := <-saw
			ended, began := make(chan struct{}), time.Now()
			go func() {
				if err := w.Destroy(t.Context()); err != nil {
					t.Error(err)
				}
				close(ended)
			}()
			after := work(t, neighbour, ended)
			took := time.Since(began)
			fmt.Fprintf(table, "%s\t%d\t%.0f\t%.0f\t%.0f\t%d\t%d\t%.2f\t%d\t%.0f\t%.0f\t%d\t%.60s\n", bomb.name, len(during.steps), during.step(50), during.step(95), during.step(100),
				during.sent, during.lost, percentile(during.rtts, 95), took.Milliseconds(), after.step(95), after.step(100), after.lost, line)
			if lost := during.lost + after.lost; lost > 0 && bomb.name != storming {
				t.Errorf("the neighbour lost %d of %d pings", lost, during.sent+after.sent)
			}
		})
	}
	table.Flush()
	t.Logf("times in milliseconds\n%s", report.String())
}

// worked is what a learner could do.
type worked struct {
	steps      []time.Duration
	rtts       []float64 // in milliseconds
	sent, lost int
}

func (d worked) step(p int) float64 {
	var ms []float64
	for _, s := range d.steps {
		ms = append(ms, float64(s.Microseconds())/1000)
	}
	return percentile(ms, p)
}

func percentile(of []float64, p int) float64 {
	if len(of) == 0 {
		return 0
	}
	of = slices.Sorted(slices.Values(of))
	return of[min(len(of)-1, len(of)*p/100)]
}

// work does steps and pings in a world until done is closed, at least one of each.
func work(t *testing.T, w host.World, done <-chan struct{}) (d worked) {
	t.Helper()
	over := func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
	var pinging sync.WaitGroup
	pinging.Go(func() {
		for first := true; first || !over(); first = false {
			r, err := w.Probe(t.Context(), topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.20"})
			if err != nil {
				t.Errorf("the neighbour's ping: %v", err)
				return
			}
			d.sent++
			if r.OK {
				d.rtts = append(d.rtts, r.RTTms)
			} else {
				d.lost++
				t.Logf("the neighbour's ping: %s %v", r.Reason, r.Detail)
			}
			time.Sleep(5 * time.Millisecond) // a learner is no flood
		}
	})
	for first := true; first || !over(); first = false {
		began := time.Now()
		_, err := w.Apply(t.Context(), []topo.Placed{
			on("host1", topo.LinkAdd{Name: "veth1", Kind: "veth", Peer: "veth2", PeerNetns: "kon"}),
			on("host1", addr(topo.VerbAdd, "172.16.0.1/24", "veth1")), on("host1", up("veth1")),
			on("host1/kon", addr(topo.VerbAdd, "172.16.0.2/24", "veth2")), on("host1/kon", up("veth2")),
		})
		d.steps = append(d.steps, time.Since(began))
		if err == nil {
			_, err = w.Apply(t.Context(), []topo.Placed{on("host1", topo.LinkDel{Name: "veth1"})})
		}
		if err != nil {
			t.Errorf("the neighbour's step: %v", err)
			break
		}
	}
	pinging.Wait()
	return d
}
