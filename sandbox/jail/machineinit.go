package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// mcPlan is what a machine init needs to know. With it come its devpts and the
// files by which a program joins the learner's cgroups.
type mcPlan struct {
	Name   string `json:"name"`
	OneID  bool   `json:"one_id,omitempty"`
	Limits Limits `json:"limits"`
	// Counted: a control group counts the processes.
	Counted bool `json:"counted,omitempty"`
}

// program is what a machine init shall start. With it come stdin, stdout and
// stderr unless it is Detached, then a descriptor for the shim's complaints; and
// if InNetns, the namespace to run it in.
type program struct {
	Argv       []string `json:"argv,omitempty"`
	Service    string   `json:"service,omitempty"` // an entry of this program, in place of Argv
	Env        []string `json:"env"`
	Dir        string   `json:"dir"`
	Detached   bool     `json:"detached,omitempty"`
	InNetns    bool     `json:"in_netns,omitempty"`
	OnTerminal bool     `json:"on_terminal,omitempty"` // stdin is to be its controlling terminal
}

// machineInit is pid 1 of a machine, in U2. It keeps its rights, so that it can
// make namespaces that belong to the machine; what it starts goes through the
// shim.
func machineInit() error {
	m := &machineState{}
	return beInit(&m.kids, m.begin)
}

type machineState struct {
	kids   children
	plan   *mcPlan
	joins  []int
	devpts int // its directory
}

func (m *machineState) begin(r request, fds []int) func() (reply, []int) {
	if m.plan == nil {
		if r.Op != "setup" || r.Machine == nil {
			return refuse(r)
		}
		m.plan = r.Machine
		out, err := m.setUp(fds)
		return func() (reply, []int) { return failed(err), out }
	}
	switch {
	case r.Op == "run" && r.Program != nil:
		exited, err := m.run(r.ID, r.Program, fds)
		return func() (reply, []int) {
			if err != nil || r.Program.Detached {
				return failed(err), nil
			}
			return reply{Code: <-exited}, nil
		}
	case r.Op == "pty" && r.Size != nil:
		return func() (reply, []int) {
			fds, err := m.openPTY(r.Size)
			return failed(err), fds
		}
	case r.Op == "kill":
		m.kids.kill(r.Target)
		return func() (reply, []int) { return reply{}, nil }
	case r.Op == "kill-all":
		err := unix.Kill(-1, unix.SIGKILL) // all but this init
		if err == unix.ESRCH {
			err = nil
		}
		return func() (reply, []int) { return failed(err), nil }
	case r.Op == "netns-add" && validNetns(r.Name):
		return func() (reply, []int) { return failed(addNetns(r.Name)), nil }
	case r.Op == "netns-del" && validNetns(r.Name):
		return func() (reply, []int) { return failed(delNetns(r.Name)), nil }
	}
	return refuse(r)
}

// setUp answers with descriptors of the machine's network namespace, mount table
// and root directory.
func (m *machineState) setUp(fds []int) (out []int, err error) {
	unix.Umask(0)
	defer unix.Umask(0o022)
	if len(fds) == 0 {
		return nil, errors.New("no devpts came")
	}
	for _, fd := range fds[1:] {
		j, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, err
		}
		m.joins = append(m.joins, j)
	}
	err = first(
		func() error { return unix.Sethostname([]byte(m.plan.Name)) },
		func() error { return buildMachine(m.plan.Name, m.plan.Limits.FilesMiB, fds[0]) },
		func() (err error) {
			m.devpts, err = unix.Open("/dev/pts", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			return err
		},
	)
	if err != nil {
		return nil, err
	}
	return openAll("/proc/self/ns/net", "/proc/self/mountinfo", "/")
}

// run starts a program behind the shim.
func (m *machineState) run(key uint64, p *program, fds []int) (<-chan int, error) {
	plan := shimPlan{Program: *p, OneID: m.plan.OneID, Limits: m.plan.Limits, Counted: m.plan.Counted}
	want := 3
	if p.Detached {
		want = 1
	}
	if p.InNetns {
		want++
	}
	if len(fds) != want {
		return nil, fmt.Errorf("%d descriptors came, not %d", len(fds), want)
	}
	var files []uintptr
	add := func(fd int) int {
		files = append(files, uintptr(fd))
		return len(files) - 1
	}
	if p.Detached {
		null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		for range 3 {
			add(int(null.Fd()))
		}
		plan.Complain = add(fds[0])
	} else {
		for _, fd := range fds[:3] {
			add(fd)
		}
		plan.Complain = 2
	}
	if p.InNetns {
		plan.Netns = add(fds[want-1])
	}
	for _, j := range m.joins {
		plan.Joins = append(plan.Joins, add(j))
	}
	b, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	return m.kids.start(key, []string{entryShim, string(b)}, &syscall.ProcAttr{
		Dir: "/", Env: initEnv(), Files: files, Sys: &syscall.SysProcAttr{Setsid: true, Setctty: p.OnTerminal}}) // of descriptor 0
}

const netnsDir = "/run/netns"

func validNetns(name string) bool {
	return name != "" && name != "." && name != ".." && name == filepath.Base(name) && len(name) < 256
}

// addNetns is `ip netns add`, done here so that the namespace belongs to U2 and
// the learner has rights in it.
func addNetns(name string) error {
	path := filepath.Join(netnsDir, name)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	unix.Close(fd)
	err = onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	})
	if err != nil {
		return errors.Join(err, unix.Unlink(path))
	}
	return nil
}

// delNetns is `ip netns del`.
func delNetns(name string) error {
	path := filepath.Join(netnsDir, name)
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && err != unix.EINVAL { // EINVAL: nothing was mounted there
		return err
	}
	return unix.Unlink(path)
}
