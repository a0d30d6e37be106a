package jail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Box is one world's processes: an init of its own and Machines.
type Box struct {
	yard   *Yard
	name   string
	slot   int
	pid    int
	init   *os.Process
	ctl    *caller
	netns  int
	groups boxCgroup
	done   chan struct{}
	kill   func() error // once

	mu       sync.Mutex
	dead     bool
	machines map[string]*Machine
}

func validName(name string) bool {
	if name == "" || len(name) > 63 || name[0] == '-' {
		return false
	}
	for _, c := range []byte(name) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// Start makes an empty box. The name is unique among the living.
func (y *Yard) Start(ctx context.Context, name string) (*Box, error) {
	if !validName(name) {
		return nil, fmt.Errorf("box %q: not a name: %w", name, unix.EINVAL)
	}
	b := &Box{yard: y, name: name, netns: -1, done: make(chan struct{}), machines: map[string]*Machine{}}
	b.kill = sync.OnceValue(b.end)
	y.mu.Lock()
	err := func() (err error) {
		switch {
		case y.closed:
			return errors.New("the yard is closed")
		case y.boxes[name] != nil:
			return unix.EEXIST
		}
		b.slot, err = y.takeSlot()
		return err
	}()
	if err == nil {
		y.boxes[name] = b
	}
	y.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("box %s: %w", name, err)
	}
	if err := b.start(ctx); err != nil {
		return nil, fmt.Errorf("box %s: %w", name, errors.Join(err, b.Kill()))
	}
	return b, nil
}

func (b *Box) start(ctx context.Context) error {
	var err error
	if b.groups, err = b.yard.cgroups.add(b.name, b.yard.limits); err != nil {
		close(b.done)
		return err
	}
	ctl, theirs, err := controlPair()
	if err != nil {
		close(b.done)
		return err
	}
	defer theirs.Close()
	b.ctl = newCaller(ctl)
	if err := b.fork(theirs); err != nil {
		close(b.done)
		return err
	}
	sources := []string{"/usr", b.yard.base}
	if b.yard.tun != "" {
		sources = append(sources, b.yard.tun)
	}
	trees, err := treeFDs(sources...)
	if err != nil {
		return err
	}
	defer closeAll(trees)
	plan := &boxPlan{Yard: b.yard.tag, Name: b.name, IDs: b.yard.ids.size, Limits: b.yard.limits}
	out, err := b.ctl.call(ctx, request{Op: "setup", Box: plan}, trees...)
	if err != nil {
		return err
	}
	if len(out) != 1 {
		closeAll(out)
		return errors.New("the box init sent no namespace")
	}
	b.netns = out[0]
	return nil
}

// fork starts the box init, and a goroutine that waits for its end.
func (b *Box) fork(control *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	path := self
	if b.yard.exe != nil {
		path = fmt.Sprintf("/proc/self/fd/%d", b.yard.exe.Fd())
	}
	attr := &os.ProcAttr{Dir: "/", Env: initEnv(), Files: []*os.File{null, null, os.Stderr, control},
		Sys: initAttr(b.yard.ids.outside(b.slot), b.yard.ids.size, nil)}
	if b.groups.unified != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(b.groups.unified.Fd())
	}
	var p *os.Process
	err = onOwnThread(func() (err error) {
		if err := b.groups.enter(); err != nil {
			return err
		}
		p, err = os.StartProcess(path, []string{entryBox, b.yard.tag, b.name}, attr)
		return err
	})
	if err != nil {
		return fmt.Errorf("start its init: %w", err)
	}
	b.init, b.pid = p, p.Pid
	go func() {
		defer close(b.done)
		state, err := p.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.dead || err != nil {
			b.yard.log.Error("a box init ended by itself", "box", b.name, "state", state, "error", err)
		}
	}()
	return nil
}

// NetNS is the box init's own network namespace, which nobody uses. The
// descriptor is the box's: don't close it.
func (b *Box) NetNS() int { return b.netns }

// Done is closed when the box's pid 1, and with it every process, is gone.
func (b *Box) Done() <-chan struct{} { return b.done }

// Kill ends every process of the box, waits until they are gone, and frees what
// the box had. Descriptors that it lent are closed.
func (b *Box) Kill() error { return b.kill() }

func (b *Box) end() error {
	var errs []error
	b.mu.Lock()
	b.dead = true
	machines := b.machines
	b.mu.Unlock()
	if b.init != nil {
		if err := b.init.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, fmt.Errorf("kill: %w", err))
		}
		<-b.done
	}
	for _, m := range machines {
		m.close()
	}
	if b.ctl != nil {
		b.ctl.close()
	}
	if b.netns >= 0 {
		unix.Close(b.netns)
	}
	errs = append(errs, b.groups.remove())
	b.yard.mu.Lock()
	delete(b.yard.boxes, b.name)
	delete(b.yard.slots, b.slot)
	b.yard.mu.Unlock()
	return errors.Join(errs...)
}

// Pids lists the processes of the box, as they are called out here.
func (b *Box) Pids() ([]int, error) {
	if len(b.groups.procs) == 0 {
		return descendants(b.pid)
	}
	var pids []int
	for _, f := range b.groups.procs {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for _, word := range bytes.Fields(text) {
			pid, err := strconv.Atoi(string(word))
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// descendants finds root and what descends from it, in /proc. Inside a box
// orphans go to a machine's init, so they are found too.
func descendants(root int) ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	kids := map[int][]int{}
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + n + "/stat")
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (name) state ppid …, and the name may contain anything
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			kids[parent] = append(kids[parent], pid)
		}
	}
	found := []int{root}
	for i := 0; i < len(found); i++ {
		found = append(found, kids[found[i]]...)
	}
	return found, nil
}

// AddMachine makes a machine with namespaces, a file tree and a hostname of its
// own. It may be called concurrently.
func (b *Box) AddMachine(ctx context.Context, name string) (*Machine, error) {
	if !validName(name) {
		return nil, fmt.Errorf("machine %q: not a name: %w", name, unix.EINVAL)
	}
	m := newMachine(b, name)
	b.mu.Lock()
	var err error
	switch {
	case b.dead:
		err = ErrGone
	case b.machines[name] != nil:
		err = unix.EEXIST
	default:
		b.machines[name] = m
	}
	b.mu.Unlock()
	if err == nil {
		if err = m.start(ctx); err != nil {
			b.mu.Lock()
			if b.dead { // Kill closes it
				err = fmt.Errorf("%w: %w", ErrGone, err)
			} else {
				delete(b.machines, name)
				defer m.close()
			}
			b.mu.Unlock()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", name, err)
	}
	return m, nil
}

// pidOf reads which process a pidfd is, in our own pid namespace.
func pidOf(pidfd int) (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
	if err != nil {
		return 0, err
	}
	lines := strings.Split(string(b), "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Pid:") })
	if i < 0 {
		return 0, errors.New("fdinfo tells no pid")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(lines[i][len("Pid:"):]))
	if err == nil && pid <= 0 {
		err = syscall.ESRCH
	}
	return pid, err
}
