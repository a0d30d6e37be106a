package kernel

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/jail"
	"kabel/sandbox/topo"
)

// while runs a line on host1 until the function that it returns is called, which
// kills it.
func while(t *testing.T, w host.World, line string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = w.Exec(ctx, host.ExecRequest{Node: "host1", Argv: []string{"bash", "-c", line}, Timeout: host.MaxExecTimeout}) // how it ends is no matter
	}()
	return func() { cancel(); <-done }
}

// TestLimitsThatAreHitAreTold hits one after the other, in worlds that have little
// of it, and does nothing but watch.
func TestLimitsThatAreHitAreTold(t *testing.T) {
	for _, c := range []struct {
		limits jail.Limits
		line   string
		lacks  string // what the host says if it can't enforce this
		want   topo.LimitHit
	}{
		// With the race detector the three inits of this world take 60 MiB themselves.
		{jail.Limits{MemoryMiB: 160}, "head -c 300M /dev/zero | tail; sleep 100", "memory", topo.LimitHit{Kind: topo.LimitMemory, Bound: 160}},
		{jail.Limits{Pids: 30}, "for i in $(seq 100); do sleep 100 & done", "pids", topo.LimitHit{Kind: topo.LimitProcesses, Bound: 30}},
		{jail.Limits{CPUPercent: 10}, "while :; do :; done", "cpu", topo.LimitHit{Kind: topo.LimitProcessor, Bound: 10}},
		{jail.Limits{Namespaces: 6}, "for i in 1 2 3 4 5; do ip netns add n$i; done; sleep 100", "", topo.LimitHit{Kind: topo.LimitNamespaces, Bound: 6}},
		// One is without a name and a process, so that only the kernel knows of it.
		{jail.Limits{Namespaces: 6}, "for i in 1 2 3; do ip netns add n$i; done; exec 3</run/netns/n3; ip netns del n3; ip netns add n4; sleep 100", "", topo.LimitHit{Kind: topo.LimitNamespaces, Bound: 6}},
		{jail.Limits{FilesMiB: 2}, "head -c 3M /dev/zero >/root/big; sleep 100", "", topo.LimitHit{Kind: topo.LimitFiles, Node: "host1", Bound: 2}},
		{jail.Limits{}, `perl -e 'while(open(my $f,"<","/dev/null")){push @f,$f} sleep 100'`, "", topo.LimitHit{Kind: topo.LimitOpenFiles, Node: "host1", Subject: "perl", Bound: 1024}},
		{jail.Limits{}, `perl -e 'while(open(my $f,"+<","/dev/ptmx")){push @f,$f} sleep 100'`, "", topo.LimitHit{Kind: topo.LimitTerminals, Node: "host1", Bound: 64}},
		{jail.Limits{}, packetsNobodyReads, "memory", topo.LimitHit{Kind: topo.LimitSocketMemory, Bound: 64}},
	} {
		t.Run(string(c.want.Kind), func(t *testing.T) {
			h := openHostWith(t, c.limits, Options{ID: "limits"})
			if slices.ContainsFunc(h.yard.Missing(), func(s string) bool { return c.lacks != "" && strings.Contains(s, "cgroup "+c.lacks) }) {
				return // and operators are told so
			}
			w := smallWorld(t, h, "w", nil)
			v := watch(t, w)
			stop := while(t, w, c.line)
			defer stop()
			var hit topo.LimitHit
			v.until("the limit", func(s topo.Snapshot) bool {
				i := slices.IndexFunc(s.Limits, func(l topo.LimitHit) bool { return l.Kind == c.want.Kind })
				if i >= 0 {
					hit = s.Limits[i]
				}
				return i >= 0
			})
			if hits := hit.Hits; hits == 0 {
				t.Error("it was not hit once")
			}
			if hit.Hits = 0; hit != c.want {
				t.Errorf("told is %+v, want %+v", hit, c.want)
			}
			if got := snapshot(t, w); !slices.ContainsFunc(got.Limits, func(l topo.LimitHit) bool { return l.Kind == c.want.Kind }) {
				t.Errorf("the snapshot has only %+v", got.Limits)
			}
		})
	}
}

func TestAWorldInWhichNothingHappensHitsNoLimit(t *testing.T) {
	h := openHost(t)
	h.tick = time.Millisecond
	w := smallWorld(t, h, "w", nil)
	v := watch(t, w)
	shell(t, w, "ip netns add kon; ip -n kon link set lo up; seq 100000 | sort | tail -1; script -qc true /dev/null")
	v.until("what was typed", func(s topo.Snapshot) bool { return s.Node("host1/kon") != nil })
	if s := snapshot(t, w); len(s.Limits) > 0 {
		t.Errorf("%+v", s.Limits)
	}
}

func TestHowHitsAreCounted(t *testing.T) {
	bounds := jail.Limits{MemoryMiB: 100, Pids: 10, CPUPercent: 60}
	l := newLimits()
	nodes := []topo.Node{{ID: "host1"}, {ID: "host1/kon"}}
	want := func(what string, hits ...topo.LimitHit) {
		t.Helper()
		if got := l.list(nodes); !slices.Equal(got, hits) {
			t.Errorf("%s: %+v, want %+v", what, got, hits)
		}
	}
	memory := func(hits uint64) topo.LimitHit {
		return topo.LimitHit{Kind: topo.LimitMemory, Bound: 100, Hits: hits}
	}
	refused := topo.LimitHit{Kind: topo.LimitKernelMemory, Bound: 100, Hits: 1}
	l.usage(jail.Usage{MemoryRefused: 5, MemoryMiB: 99}, bounds)
	want("refused before anybody looked")
	l.usage(jail.Usage{MemoryRefused: 9, MemoryMiB: 50}, bounds)
	want("refused, but there were files to forget")
	l.usage(jail.Usage{MemoryRefused: 10, MemoryMiB: 99}, bounds)
	want("refused", refused)
	l.usage(jail.Usage{MemoryRefused: 11, MemoryMiB: 99}, bounds)
	want("still refused", refused)
	l.usage(jail.Usage{OOMKills: 2, MemoryRefused: 12, MemoryMiB: 99}, bounds)
	want("killed", refused, memory(2))

	l = newLimits()
	processor := topo.LimitHit{Kind: topo.LimitProcessor, Bound: 60, Hits: 1}
	for i := range uint64(3) {
		l.usage(jail.Usage{Periods: 10 * i, Throttled: 9 * i}, bounds)
		want("a moment without time")
	}
	l.usage(jail.Usage{Periods: 30, Throttled: 25}, bounds)
	want("three seconds", processor)
	l.usage(jail.Usage{Periods: 40, Throttled: 35}, bounds)
	want("four", processor)
	for range busyLooks {
		l.usage(jail.Usage{Periods: 41, Throttled: 35}, bounds)
	}
	l.usage(jail.Usage{Periods: 71, Throttled: 65}, bounds)
	processor.Hits = 2
	want("again after a rest", processor)

	l = newLimits()
	l.connections(map[topo.NodeID]uint64{"host1": 0, "host1/kon": 7, "host1/gone": 9})
	got := l.list(nodes)
	if len(got) != 1 || got[0].Node != "host1/kon" || got[0].Hits != 7 {
		t.Errorf("connections: %+v", got)
	}
	nodes = nodes[:1]
	want("a namespace that is gone")
}

// TestTerminalsOfOthers lets a world take all the terminals that it can get, on
// devpts of its own: as masters, as slaves only, and on their way in sockets.
func TestTerminalsOfOthers(t *testing.T) {
	for what, line := range map[string]string{
		"masters": ptyBomb,
		"slaves": `mkdir -p /tmp/pts; mount -t devpts -o newinstance,ptmxmode=666 p /tmp/pts; ulimit -n 4096; for i in 1 2 3 4; do python3 -c '
import os, fcntl, struct, time
held = []
try:
    while True:
        m = os.open("/tmp/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
        fcntl.ioctl(m, 0x40045431, struct.pack("i", 0))
        held.append(fcntl.ioctl(m, 0x5441, os.O_RDWR | os.O_NOCTTY))
        os.close(m)
except OSError: time.sleep(100)' & done; wait`,
		"in flight": `mkdir -p /tmp/pts; mount -t devpts -o newinstance,ptmxmode=666 p /tmp/pts; for i in 1 2 3 4; do python3 -c '
import os, socket, time
pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for i in range(100)]
try:
    for a, b in pairs:
        for i in range(8):
            m = [os.open("/tmp/pts/ptmx", os.O_RDWR | os.O_NOCTTY) for j in range(100)]
            socket.send_fds(a, [b"x"], m)
            for f in m: os.close(f)
except OSError: pass
time.sleep(100)' & done; wait`,
	} {
		t.Run(what, func(t *testing.T) {
			h := openHostWith(t, jail.Limits{}, Options{ID: "terminals", Tables: RecordPath})
			if !h.yard.TerminalsReserved() {
				return // and operators are told so
			}
			bomber, neighbour := smallWorld(t, h, "bomber", nil), smallWorld(t, h, "neighbour", nil)
			v := watch(t, bomber)
			stop := while(t, bomber, line)
			defer stop()
			v.until("that too many terminals are told of", func(s topo.Snapshot) bool {
				for range 20 { // all the time that it goes on
					term, err := neighbour.Terminal(t.Context(), host.TerminalRequest{Node: "host1"})
					if err != nil {
						t.Errorf("the neighbour gets no terminal: %v", err)
						return true
					}
					term.Close()
				}
				return slices.ContainsFunc(s.Limits, func(l topo.LimitHit) bool { return l.Kind == topo.LimitOwnTerminals && l.Subject != "" })
			})
			eventually(t, "the world keeps its terminals", func() bool {
				n, err := readNumber("/proc/sys/kernel/pty/nr")
				return err == nil && n < worldPtys+ptyStep+100
			})
		})
	}
}
