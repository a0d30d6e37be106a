package jail

import (
	"fmt"
	"math"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// What this program is when it was started by itself, by its name. Inits have
// the yard's and their own name as arguments, for whoever looks at a list of
// processes, and for sweeping up.
const (
	entryBox      = "kabel:box"
	entryMachine  = "kabel:machine"
	entryShim     = "kabel:shim"
	entryInternet = "kabel:internet"
	entryElevated = "kabel:elevated"
)

const self = "/proc/self/exe"

// controlFD is where an init finds its control socket.
const controlFD = 3

// Main must be the first thing that main and TestMain call. If this process is
// the init of a box or machine, a shim or a service, it never returns.
func Main() {
	// A descriptor that was inherited must not reach a learner's program.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		fatal(fmt.Errorf("close_range: %w", err))
	}
	switch os.Args[0] {
	case entryBox:
		fatal(boxInit())
	case entryMachine:
		fatal(machineInit())
	case entryShim:
		fatal(shim())
	case entryInternet:
		fatal(internet())
	case entryElevated:
		fatal(elevated())
	}
}

// fatal ends an entry; without an error because the yard is gone.
func fatal(err error) {
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
	os.Exit(1)
}

// initEnv keeps an init small: idle nearly always, it needs no more than one
// processor, and so fewer threads.
func initEnv() []string { return []string{"GOMAXPROCS=1"} }

// beInit makes this process a pid 1 that answers requests.
func beInit(kids *children, begin func(r request, fds []int) func() (reply, []int)) error {
	// Nobody in the box may look into an init, whatever it keeps of its rights.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("dumpable: %w", err)
	}
	if err := catchSignals(); err != nil {
		return err
	}
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	go func() {
		for range died {
			kids.reap()
		}
	}()
	c, err := newConn(controlFD)
	if err != nil {
		return err
	}
	serve(c, begin)
	return nil
}

// children are an init's: those that it started and waits for, and orphans.
type children struct {
	mu      sync.Mutex
	waiting map[int]child
}

type child struct {
	key    uint64
	exited chan<- int
}

// start runs this program again under the name argv[0]. The exit code comes on
// the channel, 128+n for signal n.
func (c *children) start(key uint64, argv []string, attr *syscall.ProcAttr) (<-chan int, error) {
	c.mu.Lock() // or a child that dies at once is reaped before it is known
	defer c.mu.Unlock()
	pid, err := syscall.ForkExec(self, argv, attr)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	exited := make(chan int, 1)
	if c.waiting == nil {
		c.waiting = map[int]child{}
	}
	c.waiting[pid] = child{key, exited}
	return exited, nil
}

// kill ends the whole process group that was started under key, if it lives.
func (c *children) kill(key uint64) {
	c.mu.Lock() // or the pid may have been given to another
	defer c.mu.Unlock()
	for pid, k := range c.waiting {
		if k.key == key {
			_ = unix.Kill(-pid, unix.SIGKILL)
		}
	}
}

func (c *children) reap() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var status unix.WaitStatus
		var pid int
		err := retry(func() (err error) {
			pid, err = unix.Wait4(-1, &status, unix.WNOHANG, nil)
			return err
		})
		if err != nil || pid <= 0 {
			return
		}
		if k, ok := c.waiting[pid]; ok {
			delete(c.waiting, pid)
			code := status.ExitStatus()
			if status.Signaled() {
				code = 128 + int(status.Signal())
			}
			k.exited <- code
		}
	}
}
