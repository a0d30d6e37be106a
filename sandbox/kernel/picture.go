package kernel

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kabel/sandbox/topo"
)

// picture is what was read last, and what may be kept for the next reading. The
// caches are keyed by the namespaces' cookies, which are never used again.
type picture struct {
	quiet    map[uint64]quiet
	firewall map[uint64]firewall
	numbered map[uint64]bool // known to the observer by a number
	numbers  *conn           // the observer's, to give numbers; nil while nobody watches
	unnamed  []unnamedNetns
	buf      []byte
	// rulesMoved is set while the world is read after an event of nf_tables.
	rulesMoved bool
}

func newPicture() picture {
	return picture{quiet: map[uint64]quiet{}, firewall: map[uint64]firewall{}, numbered: map[uint64]bool{},
		buf: make([]byte, receiveSize)}
}

// depth says how much is read again.
type depth int

const (
	readEvents depth = iota // what has events; rules of the firewall only after theirs
	readNow                 // and what has none
	readAll                 // and the firewall's counters
)

// refresh reads the world and returns the revision that shows it.
func (w *World) refresh(d depth) (topo.Rev, error) {
	w.reading.Lock()
	defer w.reading.Unlock()
	w.picture.rulesMoved = w.rulesMoved.Swap(false)
	if w.processEnded.Swap(false) {
		d = max(d, readNow)
	}
	nodes, err := w.read(d)
	if err != nil {
		return w.feed.Now().Revision, fmt.Errorf("read world %s: %w", w.id, err)
	}
	return w.feed.Publish(nodes), nil
}

// read reads all namespaces of the world as they are now.
func (w *World) read(d depth) ([]topo.Node, error) {
	if d >= readNow {
		found, err := w.unnamedOf()
		if err != nil {
			return nil, err
		}
		w.picture.unnamed = found
	}
	open, err := w.namespaces(w.picture.unnamed)
	defer func() {
		for _, ns := range open {
			ns.close()
		}
	}()
	if err != nil {
		return nil, err
	}
	var all []*reading
	defer func() {
		for _, r := range all {
			r.conn.close()
		}
	}()
	alive := map[uint64]bool{}
	err = w.host.home.visit(func(enter func(int) error) error {
		for _, ns := range open {
			r := &reading{netns: ns, node: topo.Node{ID: ns.id, Kind: ns.kind}}
			if err := enter(ns.fd); err != nil {
				return err
			}
			if r.conn, err = socket(unix.NETLINK_ROUTE, w.picture.buf); err != nil {
				return err
			}
			r.conn.limit = tableLimit
			all = append(all, r)
			cookie, err := w.readNamespace(r, d)
			if err != nil {
				return fmt.Errorf("%s: %w", ns.id, err)
			}
			alive[cookie] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	resolvePeers(all)
	resolveParents(all)
	w.captures.show(all)
	gone := func(cookie uint64) bool { return !alive[cookie] }
	maps.DeleteFunc(w.picture.quiet, func(c uint64, _ quiet) bool { return gone(c) })
	maps.DeleteFunc(w.picture.firewall, func(c uint64, _ firewall) bool { return gone(c) })
	maps.DeleteFunc(w.picture.numbered, func(c uint64, _ bool) bool { return gone(c) })
	nodes := make([]topo.Node, len(all))
	lost := map[topo.NodeID]uint64{}
	for i, r := range all {
		nodes[i] = r.node
		lost[r.node.ID] = r.untracked
	}
	w.limits.untracked.Store(&lost)
	return nodes, nil
}

// readNamespace reads the namespace of the calling thread.
func (w *World) readNamespace(r *reading, d depth) (cookie uint64, err error) {
	if cookie, err = unix.GetsockoptUint64(r.conn.fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err != nil {
		return 0, fmt.Errorf("read the cookie: %w", err)
	}
	if err := w.number(cookie, r.fd); err != nil {
		return 0, err
	}
	if err := r.tables(); err != nil {
		return 0, err
	}
	return cookie, w.readSlow(r, cookie, d)
}

// readSlow adds to r what has no events or costs a program to read, from the
// last reading where that will do. The calling thread is in the namespace.
func (w *World) readSlow(r *reading, cookie uint64, d depth) error {
	q, known := w.picture.quiet[cookie]
	if !known || d >= readNow {
		var err error
		if q, err = readQuiet(w.picture.buf); err != nil {
			return err
		}
		w.picture.quiet[cookie] = q
	}
	maps.Copy(r.node.Sysctls, q.sysctls)
	r.node.Sockets, r.node.Counters, r.untracked = q.sockets, q.counters, q.untracked
	f, known := w.picture.firewall[cookie]
	if !known || w.picture.rulesMoved || d >= readNow {
		var err error
		if f, err = readFirewall(w.host.tools, w.picture.buf, f, d >= readAll); err != nil {
			// Rules that no tool can spell must not hide the rest of the world.
			w.host.options.Log.Debug("rules of the firewall could not be read", "world", w.id, "node", r.id, "error", err)
		}
		w.picture.firewall[cookie] = f
	}
	r.node.Firewall = f.chains
	return nil
}

// namespaces opens all namespaces of the world in the snapshot's order, those
// included that were found to be unnamed. A namespace with two names stands under
// the first.
func (w *World) namespaces(hidden []unnamedNetns) (open []*netns, err error) {
	seen := map[uint64]bool{}
	add := func(ns *netns) error {
		var st unix.Stat_t
		if err := unix.Fstat(ns.fd, &st); err != nil {
			ns.close()
			return fmt.Errorf("stat namespace of %s: %w", ns.id, err)
		}
		ns.inode = st.Ino
		if seen[ns.inode] {
			ns.close()
			return nil
		}
		seen[ns.inode] = true
		open = append(open, ns)
		return nil
	}
	for _, m := range w.machines {
		if err := add(&netns{id: m.node(), kind: m.kind, fd: m.NetNS(), borrowed: true}); err != nil {
			return open, err
		}
		names, err := m.names()
		if err != nil {
			return open, fmt.Errorf("list namespaces of %s: %w", m.node(), err)
		}
		for _, name := range names {
			id := m.node().In(name)
			if !id.Valid() {
				continue // no command could name it
			}
			fd, err := m.OpenNetns(name)
			if err != nil {
				continue // it went meanwhile
			}
			if err := add(&netns{id: id, kind: topo.KindNetns, fd: fd}); err != nil {
				return open, err
			}
		}
	}
	for _, u := range hidden {
		if ns, err := u.open(); err == nil {
			if err := add(ns); err != nil {
				return open, err
			}
		}
	}
	return w.inOrder(open), nil
}

// names are the machine's named namespaces in the order of their creation. That
// is the order of the mount table; a namespace's cookie would not do, because
// every CPU counts its own.
func (m machine) names() ([]string, error) {
	names, err := m.Netns()
	if err != nil || len(names) < 2 {
		return names, err
	}
	var table []byte
	buf := make([]byte, 16<<10)
	for len(table) < mountinfoLimit {
		n, err := unix.Pread(m.Mountinfo(), buf, int64(len(table)))
		if err != nil {
			return nil, fmt.Errorf("read mountinfo: %w", err)
		}
		if n == 0 {
			break
		}
		table = append(table, buf[:n]...)
	}
	place := map[string]int{}
	for i, line := range strings.Split(string(table), "\n") {
		if w := strings.Fields(line); len(w) > 4 {
			if name, ok := strings.CutPrefix(w[4], "/run/netns/"); ok {
				place[name] = i
			}
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return place[a] - place[b] })
	return names, nil
}

// mountinfoLimit bounds what is read of a table that a learner can make long.
const mountinfoLimit = 1 << 20

// inOrder puts every namespace behind its machine.
func (w *World) inOrder(open []*netns) []*netns {
	place := map[string]int{}
	for i, m := range w.machines {
		place[m.Name()] = i
	}
	slices.SortStableFunc(open, func(a, b *netns) int { return place[a.id.Machine()] - place[b.id.Machine()] })
	return open
}

// unnamedNetns is a namespace that lives by a process only.
type unnamedNetns struct {
	id    topo.NodeID
	pid   int
	inode uint64
}

// open opens it by its process, if that is still there.
func (u unnamedNetns) open() (*netns, error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", u.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != u.inode {
		unix.Close(fd)
		return nil, unix.ENOENT // the number of the process is another's by now
	}
	return &netns{id: u.id, kind: topo.KindNetns, fd: fd}, nil
}

// unnamedOf finds the namespaces of the world's processes, named ones included.
// The user namespace tells which machine a process belongs to.
func (w *World) unnamedOf() ([]unnamedNetns, error) {
	pids, err := w.box.Pids()
	if err != nil {
		return nil, fmt.Errorf("list the world's processes: %w", err)
	}
	seen := map[uint64]bool{}
	var found []unnamedNetns
	for _, pid := range pids {
		net, err := inode(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil || seen[net] {
			continue // it ended meanwhile
		}
		user, err := inode(fmt.Sprintf("/proc/%d/ns/user", pid))
		if err != nil {
			continue
		}
		for _, m := range w.machines {
			if m.userNS == user {
				seen[net] = true
				found = append(found, unnamedNetns{m.node().In(fmt.Sprint(unnamed, net)), pid, net})
			}
		}
	}
	slices.SortFunc(found, func(a, b unnamedNetns) int { return strings.Compare(string(a.id), string(b.id)) })
	return found, nil
}

func inode(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("stat %s: %w", path, err)
	}
	return st.Ino, nil
}
