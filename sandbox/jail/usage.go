package jail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Usage is what the kernel has counted of a box where it came up against its
// limits. What this machine has no control group for stays 0.
type Usage struct {
	// OOMKills are the programs that were killed because the memory was used up.
	OOMKills uint64
	// MemoryRefused counts how often the memory was used up, also where the kernel
	// then found some to give back.
	MemoryRefused uint64
	// MemoryMiB is in use, without files that the kernel can read again.
	MemoryMiB int
	// SocketsFull says that the memory of the sockets, SocketMiB, is used up.
	SocketsFull bool
	// ForksRefused counts processes and threads that could not be started.
	ForksRefused uint64
	// Periods are those of CPUPercent, 100 ms each, in which a program wanted to run,
	// and Throttled those of them in which the time was used up.
	Periods, Throttled uint64
}

// socketGrain is what sockets may leave of their memory because they take it in
// pieces: 64 KiB is the largest packet.
const socketGrain = 64 << 10

// SocketMiB bounds the memory of a box's sockets where that is counted by itself.
const SocketMiB = 64

// meters are the directories of a box's groups that count, by controller.
type meters map[string]meter

type meter struct {
	dir string
	v2  bool
}

// Usage reads the counts: a few small files.
func (b *Box) Usage() (Usage, error) {
	b.mu.Lock()
	dead := b.dead
	b.mu.Unlock()
	if dead {
		return Usage{}, ErrGone
	}
	u, err := b.groups.meters.read()
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		err = ErrGone // it ended meanwhile
	}
	return u, err
}

func (m meters) read() (u Usage, err error) {
	if g, ok := m["memory"]; ok {
		if err := g.memory(&u); err != nil {
			return u, err
		}
	}
	if g, ok := m["pids"]; ok {
		events, err := g.keyed("pids.events")
		if err != nil {
			return u, err
		}
		u.ForksRefused = events["max"]
	}
	if g, ok := m["cpu"]; ok {
		stat, err := g.keyed("cpu.stat")
		if err != nil {
			return u, err
		}
		u.Periods, u.Throttled = stat["nr_periods"], stat["nr_throttled"]
	}
	return u, nil
}

func (g meter) memory(u *Usage) error {
	stat, err := g.keyed("memory.stat")
	if err != nil {
		return err
	}
	used, events := "memory.usage_in_bytes", "memory.oom_control"
	if g.v2 {
		used, events = "memory.current", "memory.events"
	}
	bytes, err := g.number(used)
	if err != nil {
		return err
	}
	u.MemoryMiB = int((bytes - min(bytes, stat["inactive_file"]+stat["active_file"])) >> 20)
	counts, err := g.keyed(events)
	if err != nil {
		return err
	}
	u.OOMKills = counts["oom_kill"]
	if g.v2 {
		u.MemoryRefused = counts["max"]
		return nil
	}
	if u.MemoryRefused, err = g.number("memory.failcnt"); err != nil {
		return err
	}
	sockets, err := g.number("memory.kmem.tcp.usage_in_bytes") // it has a count of failures, which stays 0
	if errors.Is(err, os.ErrNotExist) {
		return nil // this kernel does not count them
	}
	u.SocketsFull = sockets >= SocketMiB<<20-socketGrain
	return err
}

func (g meter) number(file string) (uint64, error) {
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

// keyed reads a file with a name and a number in each line.
func (g meter) keyed(file string) (map[string]uint64, error) {
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		return nil, err
	}
	values := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if values[name], err = strconv.ParseUint(value, 10, 64); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return values, nil
}

// RoomForNetns asks the kernel whether one more network namespace could be made,
// which it tells in no other way: one is made, and goes at once.
func (b *Box) RoomForNetns(ctx context.Context) (bool, error) {
	_, err := b.ctl.call(ctx, request{Op: "netns-room"})
	if errors.Is(err, unix.ENOSPC) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("box %s: try a network namespace: %w", b.name, err)
	}
	return true, nil
}

// FilesFull says that the machine's own files have taken all their room.
func (m *Machine) FilesFull() (bool, error) {
	m.use.RLock()
	defer m.use.RUnlock()
	if m.closed {
		return false, ErrGone
	}
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(m.root, &fs) }); err != nil {
		return false, fmt.Errorf("statfs %s: %w", m.name, err)
	}
	return fs.Bavail == 0 || fs.Ffree == 0, nil
}

// TerminalsFull says that MaxTerminals are open on the machine's own devpts.
func (m *Machine) TerminalsFull() (bool, error) {
	m.use.RLock()
	defer m.use.RUnlock()
	if m.closed {
		return false, ErrGone
	}
	fd, err := unix.Openat(m.devpts, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("terminals of %s: %w", m.name, err)
	}
	dir := os.NewFile(uintptr(fd), "devpts")
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return false, fmt.Errorf("terminals of %s: %w", m.name, err)
	}
	return len(names)-1 >= MaxTerminals, nil // one is ptmx
}
