package kernel

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"kabel/sandbox/jail"
	"kabel/sandbox/topo"
)

// A limit that is hit shows itself to a learner as a program that dies or an error
// that explains nothing. So while somebody watches a world, the kernel's counts of
// its limits are read, and its snapshot tells which were hit. All of it comes from
// the kernel. What only is or is not so at the moment counts as a hit whenever it
// comes to be.

// limits is what is known of a world's.
type limits struct {
	mu     sync.Mutex
	looked time.Time
	usages []jail.Usage // of the last looks, the latest at the end
	hits   map[limitKey]topo.LimitHit
	at     map[limitKey]bool // those that are at their bound

	untracked atomic.Pointer[map[topo.NodeID]uint64] // connections, by the last reading of the world
}

type limitKey struct {
	kind topo.LimitKind
	node topo.NodeID
}

func newLimits() limits {
	return limits{hits: map[limitKey]topo.LimitHit{}, at: map[limitKey]bool{}}
}

// counted takes how often a limit was hit from the kernel's own count.
func (l *limits) counted(h topo.LimitHit, hits uint64) {
	if h.Hits = hits; hits > 0 {
		l.hits[limitKey{h.Kind, h.Node}] = h
	}
}

// once counts one more hit.
func (l *limits) once(h topo.LimitHit) {
	key := limitKey{h.Kind, h.Node}
	h.Hits = l.hits[key].Hits + 1
	l.hits[key] = h
}

// level counts a hit if the limit is at its bound and was not at the last look.
func (l *limits) level(h topo.LimitHit, at bool) {
	key := limitKey{h.Kind, h.Node}
	if at && !l.at[key] {
		l.once(h)
	}
	l.at[key] = at
}

// list is what the snapshot tells: in an order, and only of nodes that are there.
func (l *limits) list(nodes []topo.Node) []topo.LimitHit {
	here := map[topo.NodeID]bool{"": true}
	for _, n := range nodes {
		here[n.ID] = true
	}
	maps.DeleteFunc(l.hits, func(k limitKey, _ topo.LimitHit) bool { return !here[k.node] })
	maps.DeleteFunc(l.at, func(k limitKey, _ bool) bool { return !here[k.node] })
	return slices.SortedFunc(maps.Values(l.hits), func(a, b topo.LimitHit) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Node, b.Node))
	})
}

// hit tells at once of a limit that the host itself has enforced.
func (w *World) hit(h topo.LimitHit) {
	w.limits.mu.Lock()
	defer w.limits.mu.Unlock()
	w.limits.once(h)
	w.feed.PublishLimits(w.limits.list(w.feed.Now().Nodes))
}

const (
	// fullMemory is at which part of its memory a world is said to have used it up
	// where no program was killed: the kernel refuses what it can't wait for earlier.
	fullMemory = 0.95
	// busyPeriods is in how many of the periods of the last busyLooks seconds, 100 ms
	// each, programs must have been held up to be said to want more processor time
	// than there is, and busyPart in which part of those in which they ran.
	busyLooks   = 3
	busyPeriods = 20
	busyPart    = 0.65
	// manyNamespaces is from which part of a world's namespaces on the kernel is
	// asked whether there is room for another.
	manyNamespaces = 0.5
	// fewFiles is the least that a program may have open; with fewer it is at no bound.
	fewFiles = 1024
)

// followLimits looks until the observer stops. It does not wait for a reading of
// the world, which may take long while a bomb burns.
func (w *World) followLimits(ctx context.Context) {
	ticks := time.NewTicker(w.host.tick)
	defer ticks.Stop()
	for {
		if err := w.lookAtLimits(ctx); err != nil && ctx.Err() == nil {
			w.host.options.Log.Warn("a world's limits could not be read", "world", w.id, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// lookAtLimits reads the counts, not more often than once a tick.
func (w *World) lookAtLimits(ctx context.Context) error {
	l := &w.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.looked) < w.host.tick*9/10 {
		return nil
	}
	l.looked = time.Now()
	bounds := w.host.yard.Limits()
	u, err := w.box.Usage()
	if err != nil {
		return err
	}
	l.usage(u, bounds)
	nodes := w.feed.Now().Nodes
	full := len(nodes) >= bounds.Namespaces
	if !full && float64(len(nodes)) >= manyNamespaces*float64(bounds.Namespaces) {
		room, err := w.box.RoomForNetns(ctx)
		if err != nil {
			return err
		}
		full = !room
	}
	l.level(topo.LimitHit{Kind: topo.LimitNamespaces, Bound: bounds.Namespaces}, full)
	for _, m := range w.machines {
		full, err := m.FilesFull()
		if err != nil {
			return err
		}
		l.level(topo.LimitHit{Kind: topo.LimitFiles, Node: m.node(), Bound: bounds.FilesMiB}, full)
		if full, err = m.TerminalsFull(); err != nil {
			return err
		}
		l.level(topo.LimitHit{Kind: topo.LimitTerminals, Node: m.node(), Bound: jail.MaxTerminals}, full)
	}
	if err := w.lookAtFiles(); err != nil {
		return err
	}
	if n := l.untracked.Load(); n != nil {
		l.connections(*n)
	}
	w.feed.PublishLimits(l.list(nodes))
	return nil
}

func (l *limits) usage(u jail.Usage, bounds jail.Limits) {
	if l.usages == nil {
		l.usages = []jail.Usage{u} // what was before is not known to have been a moment ago
	}
	last, first := l.usages[len(l.usages)-1], l.usages[0]
	memory := topo.LimitHit{Kind: topo.LimitMemory, Bound: bounds.MemoryMiB}
	l.counted(memory, u.OOMKills)
	memory.Kind = topo.LimitKernelMemory
	l.level(memory, u.OOMKills == last.OOMKills && u.MemoryRefused > last.MemoryRefused &&
		float64(u.MemoryMiB) >= fullMemory*float64(bounds.MemoryMiB))
	l.level(topo.LimitHit{Kind: topo.LimitSocketMemory, Bound: jail.SocketMiB}, u.SocketsFull)
	l.counted(topo.LimitHit{Kind: topo.LimitProcesses, Bound: bounds.Pids}, u.ForksRefused)
	throttled, periods := u.Throttled-first.Throttled, u.Periods-first.Periods
	l.level(topo.LimitHit{Kind: topo.LimitProcessor, Bound: bounds.CPUPercent},
		throttled >= busyPeriods && float64(throttled) >= busyPart*float64(periods))
	l.usages = append(l.usages, u)
	l.usages = l.usages[max(0, len(l.usages)-busyLooks):]
}

// lookAtFiles finds the programs that have as many files open as they may. The
// kernel tells the number as a directory's size, since Linux 6.2.
func (w *World) lookAtFiles() error {
	pids, err := w.box.Pids()
	if err != nil {
		return err
	}
	at := map[topo.NodeID]topo.LimitHit{}
	for _, pid := range pids {
		var fds unix.Stat_t
		var may unix.Rlimit
		if unix.Stat(fmt.Sprintf("/proc/%d/fd", pid), &fds) != nil || fds.Size < fewFiles ||
			unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &may) != nil || uint64(fds.Size) < may.Cur {
			continue // or it has ended meanwhile
		}
		if m, ok := w.machineOf(pid); ok {
			at[m.node()] = topo.LimitHit{Kind: topo.LimitOpenFiles, Node: m.node(), Subject: program(pid), Bound: int(may.Cur)}
		}
	}
	for _, m := range w.machines {
		w.limits.level(cmp.Or(at[m.node()], topo.LimitHit{Kind: topo.LimitOpenFiles, Node: m.node()}), at[m.node()] != topo.LimitHit{})
	}
	return nil
}

// machineOf finds the machine of a process of the world.
func (w *World) machineOf(pid int) (machine, bool) {
	user, err := inode(fmt.Sprintf("/proc/%d/ns/user", pid))
	for _, m := range w.machines {
		if err == nil && m.userNS == user {
			return m, true
		}
	}
	return machine{}, false
}

// program is the name of a process, of which its learner may have made anything.
func program(pid int) string {
	name, _ := readProc(fmt.Sprintf("/proc/%d/comm", pid), make([]byte, 64))
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) && r != unicode.ReplacementChar {
			return r
		}
		return -1
	}, strings.TrimSpace(name))
}

// connections takes what the last reading of the world found in each namespace.
func (l *limits) connections(untracked map[topo.NodeID]uint64) {
	for node, n := range untracked {
		if n > 0 {
			bound, _ := readNumber("/proc/sys/net/netfilter/nf_conntrack_max")
			l.counted(topo.LimitHit{Kind: topo.LimitConnections, Node: node, Bound: bound}, n)
		}
	}
}

// untracked is how many connections the namespace of the calling thread refused
// or forgot early because its table was full.
func untracked(buf []byte) (n uint64) {
	text, err := readProc("/proc/thread-self/net/stat/nf_conntrack", buf)
	if err != nil {
		return 0 // this kernel tracks none
	}
	var names []string
	for line := range strings.Lines(text) { // one for each processor, in base 16
		fields := strings.Fields(line)
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names {
			if (name == "drop" || name == "early_drop") && i < len(fields) {
				count, _ := strconv.ParseUint(fields[i], 16, 64)
				n += count
			}
		}
	}
	return n
}
