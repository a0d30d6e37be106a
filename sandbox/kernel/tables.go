package kernel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"kabel/sandbox/jail"
)

// Some tables of the kernel are the whole machine's, whatever namespaces there
// are: one learner who fills one takes it from all. As root the host sets them
// for many worlds while it runs and puts them back at its end; where it can't, it
// takes only as many worlds as there is room for, and says so.

// sharedTable is one such setting.
type sharedTable struct {
	key  string // as sysctl names it
	want int
	// ceiling: it bounds every namespace by itself, with memory that no world is
	// charged for, and so is set if it is more than want.
	ceiling bool
	// usual is what the kernel has by itself, to reckon with where it can't be
	// read.
	usual int
	// each is what a world needs or may take; 0 if worlds can do without it.
	each int
	// spare is left for the machine's other programs.
	spare int
	// lost says what goes wrong where it can't be set; empty if another says so.
	lost string
}

// enough says whether a value is as wanted.
func (s sharedTable) enough(value int) bool {
	if s.ceiling {
		return value <= s.want
	}
	return value >= s.want
}

// room is for how many worlds there is some.
func (s sharedTable) room(value int) int {
	if s.each == 0 {
		return math.MaxInt
	}
	return max(1, (value-s.spare)/s.each)
}

// The values that are set, which operators find in the README.
const (
	neighbours    = 131072  // gc_thresh3; 2 and 1 are a half and a quarter of it
	connections   = 32768   // for each namespace; 8 MiB when full
	terminals     = 65536   // all ptys of the machine
	unreserved    = 8192    // of which only so many for the devpts that learners mount
	namespaces    = 131072  // of each kind
	processes     = 4194304 // the most that the kernel numbers
	watchers      = 65536   // inotify instances
	watches       = 4194304 // what these watch; charged to the worlds
	openFiles     = 1 << 40 // no bound: they are charged to the worlds
	perWorldArp   = 24      // 17 were measured in a world of two machines and four containers
	perWorldPty   = 16
	hostMemoryMiB = 1024 // or a quarter of a small machine's
)

// machineState is what the machine has now, which counts in what to set.
type machineState struct {
	connections int // the machine's own, which must have room in any case
	ptyMax      int
	ptyReserve  int
	// reserved: the worlds' own terminals may use the reserve.
	reserved bool
}

// sharedTables are those that matter to worlds with these limits.
func sharedTables(l jail.Limits, now machineState) []sharedTable {
	var all []sharedTable
	spare := now.ptyReserve
	if now.reserved {
		spare = unreserved
		all = append(all, sharedTable{key: "kernel.pty.reserve", want: max(terminals, now.ptyMax) - unreserved,
			lost: "a world that mounts devpts of its own can take the terminals of all"})
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		thresh := "net." + family + ".neigh.default.gc_thresh"
		all = append(all,
			sharedTable{key: thresh + "1", want: neighbours / 4, usual: 128},
			sharedTable{key: thresh + "2", want: neighbours / 2, usual: 512},
			sharedTable{key: thresh + "3", want: neighbours, usual: 1024, each: perWorldArp, lost: "beyond, packets to new neighbours are lost"})
	}
	all = append(all,
		sharedTable{key: "net.netfilter.nf_conntrack_max", want: max(connections, 4*now.connections), ceiling: true, lost: "a world can fill 48 namespaces with tracked connections that nobody counts"},
		sharedTable{key: "kernel.pty.max", want: terminals, each: perWorldPty, spare: spare, lost: "beyond, terminals can't be opened"},
		sharedTable{key: "fs.file-max", want: openFiles, lost: "a few worlds that open files in masses take them from all programs"},
		sharedTable{key: "fs.inotify.max_user_instances", want: watchers, lost: "a world can keep programs of others from watching files"},
		sharedTable{key: "fs.inotify.max_user_watches", want: watches, lost: "a world can keep programs of others from watching files"})
	for key, each := range l.Bounds() {
		t := sharedTable{key: key, want: namespaces, each: each, lost: "beyond, worlds can't be made"}
		switch key {
		case "kernel.pid_max":
			t.want = processes
		case "kernel.threads-max":
			t.want = 0 // the kernel knows best how many stacks its memory has room for
		case "user.max_inotify_instances", "user.max_inotify_watches", "user.max_fanotify_groups":
			continue // see fs.inotify, and worlds can do without
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b sharedTable) int { return strings.Compare(a.key, b.key) })
	return all
}

// RecordPath is where sandboxes remember what the machine's tables were. It is
// one for all of them, and empty after a boot, as the tables are.
const RecordPath = "/run/kabel.tables"

// tables are the shared ones as this process left them.
type tables struct {
	root     string
	record   *record // nil where nothing can be set
	capacity int     // how many worlds there is room for
	missing  []string
}

// yard is what the tables need to know of a jail.Yard.
type yard interface {
	Limits() jail.Limits
	Rootless() bool
	TerminalsReserved() bool
}

// openTables sets the tables of the machine below root, "/", remembering in the
// file recordPath what they were.
func openTables(root, recordPath string, y yard) (*tables, error) {
	t := &tables{root: root, capacity: math.MaxInt}
	var refused error
	l := y.Limits()
	if y.Rootless() {
		refused = errors.New("that needs root")
	} else if t.record, refused = openRecord(recordPath); refused == nil {
		defer t.record.unlock()
	}
	now := machineState{reserved: y.TerminalsReserved()}
	now.connections, _ = t.read("net.netfilter.nf_conntrack_count")
	now.ptyMax, _ = t.read("kernel.pty.max")
	now.ptyReserve, _ = t.read("kernel.pty.reserve")
	all := sharedTables(l, now)
	failed := map[string]error{}
	if t.record != nil {
		var err error
		if failed, err = t.set(all); err != nil {
			t.record.close()
			return nil, err
		}
	}
	room, memory := t.memory(l)
	t.capacity = room
	for _, s := range all {
		value, err := t.read(s.key)
		switch {
		case err != nil && s.usual == 0:
			continue // this kernel has no such table
		case err != nil:
			value = s.usual
		}
		t.capacity = min(t.capacity, s.room(value))
		if s.enough(value) || s.lost == "" || s.each > 0 && s.room(value) >= room {
			continue
		}
		why := errors.Join(err, failed[s.key], refused)
		line := fmt.Sprintf("%s is %d, should be %d and can't be set (%v): %s", s.key, value, s.want, firstLine(why), s.lost)
		if s.each > 0 {
			line += fmt.Sprintf("; room for %d worlds", s.room(value))
		}
		t.missing = append(t.missing, line)
	}
	if !now.reserved {
		t.missing = append(t.missing, "kernel.pty.reserve: not for worlds here (that needs root in the machine's first mount namespace): one that mounts devpts of its own can take the terminals of all for a moment")
	}
	if t.capacity == room && room < fewWorlds {
		t.missing = append(t.missing, fmt.Sprintf("memory: %d MiB have room for %d worlds", memory, room))
	}
	return t, nil
}

// fewWorlds is a number of which an operator wants to know why there are no more.
const fewWorlds = 30

func firstLine(err error) string {
	if err == nil {
		return "no reason"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func (t *tables) path(key string) string {
	return filepath.Join(t.root, "proc/sys", strings.ReplaceAll(key, ".", "/"))
}

func (t *tables) read(key string) (int, error) { return readNumber(t.path(key)) }

func readNumber(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func (t *tables) write(key string, value int) error {
	f, err := os.OpenFile(t.path(key), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, value)
	return errors.Join(err, f.Close())
}

// set writes what is not as wanted, first into the record: a crash between the two
// must not lose the old value. It returns what the kernel refused.
func (t *tables) set(all []sharedTable) (map[string]error, error) {
	known, err := t.record.read()
	if err != nil {
		return nil, err
	}
	change := map[string]int{}
	for _, s := range all {
		now, err := t.read(s.key)
		if err != nil || now == 0 || s.enough(now) {
			continue // also a 0, by which an operator forbids something
		}
		old := now
		if was, ok := known[s.key]; ok && was.Set == now {
			old = was.Old // what a predecessor set that was killed
		}
		known[s.key] = setting{Old: old, Set: s.want}
		change[s.key] = s.want
	}
	if err := t.record.write(known); err != nil {
		return nil, err
	}
	failed := map[string]error{}
	for key, value := range change {
		if err := t.write(key, value); err != nil {
			failed[key] = err
			delete(known, key)
		}
	}
	if len(failed) == 0 {
		return nil, nil
	}
	return failed, t.record.write(known)
}

// memory is how many worlds it has room for, with what they are together given
// as a third of what each may take: most take a twentieth.
func (t *tables) memory(l jail.Limits) (worlds, mib int) {
	mib = math.MaxInt
	if text, err := os.ReadFile(filepath.Join(t.root, "proc/meminfo")); err == nil {
		if f := bytes.Fields(text); len(f) > 1 && string(f[0]) == "MemTotal:" {
			if kib, err := strconv.Atoi(string(f[1])); err == nil {
				mib = kib >> 10
			}
		}
	}
	for _, limit := range []string{"memory.max", "memory/memory.limit_in_bytes"} { // a container's
		if b, err := readNumber(filepath.Join(t.root, "sys/fs/cgroup", limit)); err == nil {
			mib = min(mib, b>>20)
		}
	}
	return max(1, (mib-min(hostMemoryMiB, mib/4))/max(1, l.MemoryMiB/3)), mib
}

// close puts the tables back, if no other sandbox of the machine needs them, and
// none that somebody else has changed meanwhile.
func (t *tables) close() error {
	if t.record == nil {
		return nil
	}
	defer t.record.close()
	if last, err := t.record.lockLast(); err != nil || !last {
		return err
	}
	known, err := t.record.read()
	if err != nil {
		return err
	}
	var errs []error
	for key, s := range known {
		if now, err := t.read(key); err == nil && now == s.Set {
			errs = append(errs, t.write(key, s.Old))
		}
	}
	return errors.Join(append(errs, t.record.write(nil))...)
}

// record is the file that remembers what tables were before sandboxes set them.
// Byte 0 is locked shared as long as a sandbox lives, so that the last one knows
// that it is; byte 1 exclusively by whoever reads and writes. The kernel lets go
// of both when a process dies: what a killed one set, the next puts back.
type record struct{ file *os.File }

type setting struct {
	Old int `json:"old"`
	Set int `json:"set"`
}

// remembered is the content of the file.
type remembered struct {
	Boot     string             `json:"boot"` // after another boot it means nothing
	Settings map[string]setting `json:"settings"`
}

// openRecord opens and locks both bytes; unlock lets others at it.
func openRecord(path string) (*record, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	r := &record{f}
	if err := errors.Join(r.lock(1, unix.F_WRLCK, unix.F_OFD_SETLKW), r.lock(0, unix.F_RDLCK, unix.F_OFD_SETLKW)); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return r, nil
}

func (r *record) lock(at int64, kind int16, command int) error {
	for {
		err := unix.FcntlFlock(r.file.Fd(), command, &unix.Flock_t{Type: kind, Start: at, Len: 1})
		if err != unix.EINTR {
			return err
		}
	}
}

func (r *record) unlock() {
	if r != nil {
		r.lock(1, unix.F_UNLCK, unix.F_OFD_SETLK)
	}
}

// lockLast locks the file and says whether nobody else lives who needs it.
func (r *record) lockLast() (bool, error) {
	if err := r.lock(1, unix.F_WRLCK, unix.F_OFD_SETLKW); err != nil {
		return false, err
	}
	err := r.lock(0, unix.F_WRLCK, unix.F_OFD_SETLK)
	if err == unix.EAGAIN || err == unix.EACCES {
		return false, nil
	}
	return err == nil, err
}

func (r *record) close() { r.file.Close() }

func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without one, all boots are one
	return strings.TrimSpace(string(id))
}

// read returns what is remembered; a file that makes no sense is nobody's.
func (r *record) read() (map[string]setting, error) {
	text, err := io.ReadAll(io.NewSectionReader(r.file, 0, 1<<20))
	if err != nil {
		return nil, err
	}
	var m remembered
	if json.Unmarshal(text, &m) != nil || m.Boot != bootID() || m.Settings == nil {
		return map[string]setting{}, nil
	}
	return m.Settings, nil
}

// write replaces the content; with nothing, the file becomes empty. It is not
// removed: somebody may be waiting for its lock.
func (r *record) write(settings map[string]setting) error {
	var text []byte
	if len(settings) > 0 {
		var err error
		if text, err = json.Marshal(remembered{bootID(), settings}); err != nil {
			return err
		}
	}
	if err := r.file.Truncate(0); err != nil {
		return err
	}
	_, err := r.file.WriteAt(text, 0)
	return err
}
