package jail

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hiddenSignals are those that the Go runtime leaves to C libraries and that
// package signal can't catch.
var hiddenSignals = []int{32, 33, 34}

// Handlers of rt_sigaction(2).
const (
	sigDefault = 0
	sigIgnore  = 1
)

// catchSignals makes a pid 1 survive what its children send it. A signal without
// a handler does nothing to a pid 1, but the runtime handles nearly all, and would
// die of some: these are caught and dropped. They are not ignored, because that
// would be inherited. The hidden ones must be ignored, and the shim undoes it: a
// signal without a handler does kill a pid 1 if it comes at the moment when one
// of its threads has it blocked and another has not.
func catchSignals() error {
	dropped := make(chan os.Signal, 1)
	for s := syscall.Signal(1); s <= 64; s++ {
		if s != unix.SIGCHLD && s != unix.SIGURG { // the runtime sends SIGURG to itself
			signal.Notify(dropped, s)
		}
	}
	return handleHidden(sigIgnore)
}

func handleHidden(handler uintptr) error {
	action := struct {
		handler, flags, restorer uintptr
		mask                     uint64
	}{handler: handler}
	for _, s := range hiddenSignals {
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask), 0, 0)
		if errno != 0 {
			return fmt.Errorf("handle signal %d: %w", s, errno)
		}
	}
	return nil
}
