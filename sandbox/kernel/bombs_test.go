package kernel

import (
	"encoding/json"
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
// goes on for as long as it is let. Its own page says one of the limits in told.
var bombs = []struct {
	name, line string
	told       []topo.LimitKind
}{
	{"nothing", "sleep 100", nil},
	{"processor time", "for i in $(seq 50); do while :; do :; done & done; wait", []topo.LimitKind{topo.LimitProcessor}},
	{"processes", "f() { f | f & }; f; sleep 100", []topo.LimitKind{topo.LimitProcesses}},
	{"memory", "while :; do head -c 300M /dev/zero | tail -c 300M >/dev/null; done", []topo.LimitKind{topo.LimitMemory}},
	{"files in an own tmpfs", "mkdir -p /tmp/m; mount -t tmpfs m /tmp/m; while :; do cat /dev/zero >/tmp/m/big; done", []topo.LimitKind{topo.LimitMemory}},
	{"open files", `ulimit -n 4096; for i in $(seq 100); do perl -e 'while(open(my $f,"<","/dev/null")){push @f,$f} sleep 100' & done; wait`, []topo.LimitKind{topo.LimitOpenFiles, topo.LimitMemory, topo.LimitKernelMemory}},
	{"mounts", "mkdir -p /tmp/m; while mount -t tmpfs m /tmp/m; do :; done; sleep 100", []topo.LimitKind{topo.LimitProcessor, topo.LimitMemory}},
	{"terminals", ptyBomb, []topo.LimitKind{topo.LimitOwnTerminals}},
	{"named namespaces", "i=0; while ip netns add n$i; do i=$((i+1)); done; while :; do ip netns del n1; ip netns add n1; done", []topo.LimitKind{topo.LimitNamespaces}},
	{"unnamed namespaces", "for i in $(seq 60); do unshare -n sleep 100 & done; while :; do unshare -n sleep 0.3 & sleep 0.005; done", []topo.LimitKind{topo.LimitNamespaces}},
	{"veth pairs", "seq 5000 | sed 's/.*/link add a& type veth peer name b&/' | ip -batch -; sleep 100", []topo.LimitKind{topo.LimitMemory, topo.LimitKernelMemory}},
	{"routes", "ip link set lo up; seq 0 400000 | awk '{printf \"route add 10.%d.%d.%d/32 dev lo\\n\", 100+$1/65536, $1/256%256, $1%256}' | ip -batch -; sleep 100", []topo.LimitKind{topo.LimitMemory, topo.LimitKernelMemory}},
	{"forwarding entries", "ip link add br9 type bridge; seq 0 200000 | awk '{printf \"fdb add 02:00:00:%02x:%02x:%02x dev br9 self\\n\", $1/65536, $1/256%256, $1%256}' | bridge -batch -; sleep 100", []topo.LimitKind{topo.LimitMemory, topo.LimitKernelMemory}},
	{"firewall rules", "nft add table t; nft add chain t c; while :; do seq 300 | sed 's/.*/add rule t c tcp dport & accept/' | nft -f -; done", []topo.LimitKind{topo.LimitProcessor, topo.LimitMemory}},
	{"a flood of changes", "ip link add a0 type veth peer name b0; while :; do seq 50 | sed 's/.*/link set a0 up\\nlink set a0 down/' | ip -batch -; done", []topo.LimitKind{topo.LimitProcessor}},
	{"neighbours that nobody is", `ip addr add 10.1.0.1/8 dev eth0; perl -MSocket -e 'for(;;){for $i (1..2**20){$i%50 or socket(S,PF_INET,SOCK_DGRAM,0);send(S,"x",MSG_DONTWAIT,pack_sockaddr_in(9,pack("N",0x0a200000+$i)))}}'`, []topo.LimitKind{topo.LimitProcessor, topo.LimitLoop}},
	{"packets that nobody reads", packetsNobodyReads, []topo.LimitKind{topo.LimitSocketMemory, topo.LimitKernelMemory}},
	{"tracked connections", `iptables -A OUTPUT -m conntrack --ctstate NEW; perl -MSocket -e 'for(;;){socket(my $s,PF_INET,SOCK_DGRAM,0);for $p (1..60000){send($s,"x",0,pack_sockaddr_in($p,INADDR_LOOPBACK))}}'`, []topo.LimitKind{topo.LimitConnections}},
	{storming, `ip link add p type bridge; ip link add q type bridge; for i in 1 2; do ip link add p$i type veth peer name q$i; ip link set p$i up master p; ip link set q$i up master q; done; ip addr add 172.30.0.1/24 dev p; ip link set p up; ip link set q up; ping -b -i 0.01 172.30.0.255 >/dev/null 2>&1`, []topo.LimitKind{topo.LimitLoop}},
}

// ptyBomb opens terminals on devpts of its own.
const ptyBomb = `mkdir -p /tmp/pts; mount -t devpts -o newinstance,ptmxmode=666 p /tmp/pts; for i in $(seq 8); do perl -e 'while(open(my $f,"+<","/tmp/pts/ptmx")){push @f,$f} sleep 100' & done; wait`

// packetsNobodyReads fill the buffers of sockets.
const packetsNobodyReads = `ulimit -n 4096; perl -MSocket -e 'for(1..4000){socket(my $s,PF_INET,SOCK_DGRAM,0);bind($s,pack_sockaddr_in(0,INADDR_LOOPBACK));push @s,$s} $x="x"x60000; for(;;){for(@s){send($_,$x,0,getsockname($_))}}'`

// storming is the bomb that takes the processors' own queues: until it is
// unplugged, packets may be dropped there.
const storming = "a loop of bridges"

// tellWithin is how long a bomb burns at most until its page has said so. On a busy
// machine it may not get the processor time that would be too much.
func tellWithin(told []topo.LimitKind) time.Duration {
	if slices.Contains(told, topo.LimitProcessor) {
		return 8 * time.Second
	}
	return 30 * time.Second
}

// TestNeighboursOfBombs lets each bomb burn in a world, until the page of that says
// which limit it hit, and works in another meanwhile: no ping may be lost there and
// every step must be done. How long that takes is told, not judged: it is the
// machine's as much as ours. KABEL_BURN is the least time that each burns, and
// KABEL_BOMBS_TABLE a file for the table.
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
	fmt.Fprintln(table, "in the next world\tsteps\tp50\tp95\tmost\tpings\tlost\trtt p95\tits end\tp95\tmost\tlost\twhat the page says\tafter\tits shell saw")
	for i, bomb := range bombs {
		t.Run(bomb.name, func(t *testing.T) {
			w, err := h.Create(t.Context(), twoHosts(fmt.Sprint("bomber", i)))
			if err != nil {
				t.Fatal(err)
			}
			page := readPage(t, w, bomb.told)
			saw := make(chan string, 1)
			go func() {
				r, err := w.Exec(t.Context(), host.ExecRequest{Node: "host1", Argv: []string{"bash", "-c", bomb.line}, Timeout: host.MaxExecTimeout})
				line, _, _ := strings.Cut(strings.TrimSpace(string(r.Stderr)), "\n")
				if err != nil {
					line = err.Error()
				}
				saw <- line
			}()
			burnt := make(chan struct{})
			go func() {
				defer close(burnt)
				least := time.After(burn)
				if len(bomb.told) > 0 {
					select {
					case <-page.told:
					case <-time.After(tellWithin(bomb.told)):
					}
				}
				<-least
			}()
			during := work(t, neighbour, burnt)
			usage, err := w.(*World).box.Usage()
			if err != nil {
				t.Error(err)
			}
			// It is told so only where it is so: other programs of the machine may leave
			// a world less time than its share.
			if !page.said() && slices.Contains(bomb.told, topo.LimitProcessor) && float64(usage.Throttled) < busyPart*float64(usage.Periods) {
				t.Logf("the machine is busy: the world was held up in only %d of %d periods", usage.Throttled, usage.Periods)
			} else if !page.said() && len(bomb.told) > 0 && len(h.yard.Missing()) == 0 {
				limits, _ := page.limits()
				t.Errorf("its page says %+v, want one of %v; %+v", limits, bomb.told, usage)
			}
			if err := w.(*World).machines[0].KillAll(t.Context()); err != nil {
				t.Error(err)
			}
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
			_, said := page.limits()
			fmt.Fprintf(table, "%s\t%d\t%.0f\t%.0f\t%.0f\t%d\t%d\t%.2f\t%d\t%.0f\t%.0f\t%d\t%s\t%.1f s\t%.60s\n", bomb.name, len(during.steps), during.step(50), during.step(95), during.step(100),
				during.sent, during.lost, percentile(during.rtts, 95), took.Milliseconds(), after.step(95), after.step(100), after.lost, page.words(), said.Seconds(), line)
			if lost := during.lost + after.lost; lost > 0 && bomb.name != storming {
				t.Errorf("the neighbour lost %d of %d pings", lost, during.sent+after.sent)
			}
		})
	}
	table.Flush()
	t.Logf("times in milliseconds\n%s", report.String())
	if path := os.Getenv("KABEL_BOMBS_TABLE"); path != "" {
		if err := os.WriteFile(path, []byte(report.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// page is what a browser that shows a world is told of its limits.
type page struct {
	t    *testing.T
	told chan struct{} // closed when one of those that are waited for was

	mu    sync.Mutex
	now   []topo.LimitHit
	after time.Duration // which took so long
}

func readPage(t *testing.T, w host.World, waited []topo.LimitKind) *page {
	t.Helper()
	p := &page{t: t, told: make(chan struct{})}
	began := time.Now()
	updates, err := w.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the world
		var now topo.Snapshot
		said := false
		for u := range updates {
			if u.Snapshot != nil {
				now = *u.Snapshot
			} else if now, err = u.Diff.Apply(now); err != nil {
				t.Error(err)
			}
			p.mu.Lock()
			p.now = now.Limits
			if !said && slices.ContainsFunc(now.Limits, func(l topo.LimitHit) bool { return slices.Contains(waited, l.Kind) }) {
				said, p.after = true, time.Since(began)
				close(p.told)
			}
			p.mu.Unlock()
		}
	}()
	return p
}

func (p *page) said() bool {
	select {
	case <-p.told:
		return true
	default:
		return false
	}
}

func (p *page) limits() ([]topo.LimitHit, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, p.after
}

// words are the page's own, in English.
func (p *page) words() string {
	text, err := os.ReadFile("../../web/src/i18n/en.json")
	var dictionary map[string]any
	if err == nil {
		err = json.Unmarshal(text, &dictionary)
	}
	if err != nil {
		p.t.Error(err)
	}
	var said []string
	limits, _ := p.limits()
	for _, l := range limits {
		words, ok := dictionary["limits."+string(l.Kind)].(string)
		if !ok {
			p.t.Errorf("the page has no words for %s", l.Kind)
		}
		said = append(said, strings.NewReplacer("{bound}", fmt.Sprint(l.Bound), "{node}", string(l.Node), "{subject}", l.Subject).Replace(words))
	}
	return strings.Join(said, " ")
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
