package jail

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// boxPlan is what a box init needs to know; with it come the descriptors of
// treeFDs.
type boxPlan struct {
	Yard   string `json:"yard"` // its tag
	Name   string `json:"name"`
	IDs    int    `json:"ids"`
	Limits Limits `json:"limits"`
}

// boxInit is pid 1 of a box, in U1. It has the limits and the tree that machines
// are made of, and starts their inits. It never runs a learner's program. Its
// own network namespace stays empty.
func boxInit() error {
	kids := &children{}
	var plan *boxPlan
	return beInit(kids, func(r request, fds []int) func() (reply, []int) {
		switch {
		case r.Op == "setup" && r.Box != nil && plan == nil && len(fds) >= 2:
			plan = r.Box
			out, err := setUpBox(plan, fds)
			return func() (reply, []int) { return failed(err), out }
		case r.Op == "machine" && plan != nil && len(fds) == 1:
			pidfd, err := startMachine(kids, r, plan, fds[0])
			if err != nil {
				return func() (reply, []int) { return failed(err), nil }
			}
			return func() (reply, []int) { return reply{}, []int{pidfd} }
		case r.Op == "netns-room" && plan != nil:
			return func() (reply, []int) {
				return failed(onOwnThread(func() error { return unix.Unshare(unix.CLONE_NEWNET) })), nil
			}
		}
		return refuse(r)
	})
}

// refuse answers a request that makes no sense here.
func refuse(r request) func() (reply, []int) {
	return func() (reply, []int) { return reply{Error: "no such request: " + r.Op}, nil }
}

func setUpBox(p *boxPlan, fds []int) (out []int, err error) {
	unix.Umask(0)
	defer unix.Umask(0o022)
	err = first(
		func() error { return unix.Sethostname([]byte(p.Name)) },
		func() error { return buildBox(fds) },
		p.Limits.writeUcounts,
		p.Limits.setRlimits,
	)
	if err != nil {
		return nil, err
	}
	return openAll("/proc/self/ns/net")
}

// openAll opens files of this process to hand them out.
func openAll(paths ...string) (fds []int, err error) {
	for _, p := range paths {
		fd, err := unix.Open(p, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			closeAll(fds)
			return nil, fmt.Errorf("open %s: %w", p, err)
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// startMachine starts a machine init with the control socket ctl. It answers
// with a pidfd: pids mean different things in here and outside.
func startMachine(kids *children, r request, plan *boxPlan, ctl int) (pidfd int, err error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return -1, err
	}
	defer null.Close()
	pidfd = -1
	attr := initAttr(0, plan.IDs, &pidfd)
	attr.Cloneflags |= unix.CLONE_NEWCGROUP
	exited, err := kids.start(r.ID, []string{entryMachine, plan.Yard, plan.Name, r.Name}, &syscall.ProcAttr{Dir: "/", Env: initEnv(),
		Files: []uintptr{null.Fd(), null.Fd(), 2, uintptr(ctl)}, Sys: attr})
	if err != nil {
		return -1, err
	}
	go func() { // ends with the machine
		if code := <-exited; code != 0 {
			fmt.Fprintf(os.Stderr, "%s %s: the init of %s ended with code %d\n", entryBox, plan.Name, r.Name, code)
		}
	}()
	if pidfd < 0 {
		return -1, errors.New("this kernel has no pidfd")
	}
	return pidfd, nil
}

// initAttr gives an init its namespaces, whose ids begin at outside.
func initAttr(outside, ids int, pidfd *int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		// Not cloned but unshared later, when the ids are mapped: the files in
		// /proc of a network namespace that is made together with its user
		// namespace belong to the real root, conntrack's for one.
		Unshareflags:               unix.CLONE_NEWNET,
		UidMappings:                idMap(outside, ids),
		GidMappings:                idMap(outside, ids),
		GidMappingsEnableSetgroups: ids > 1,
		// Without it the process keeps an id that is not mapped, and exec drops
		// every capability.
		Credential: &syscall.Credential{NoSetGroups: ids == 1},
		Setsid:     true,
		PidFD:      pidfd,
		// No Pdeathsig: it is sent when the thread dies that forked, and threads
		// come and go. The control socket's end is what counts.
	}
}
