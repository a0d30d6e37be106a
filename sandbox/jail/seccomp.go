package jail

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The learner's system call filter. It closes what the user namespace leaves
// open, and big parts of the kernel that no lab needs.

// Results of a filter, from linux/seccomp.h.
const (
	seccompAllow = 0x7fff0000
	seccompErrno = 0x00050000
	seccompKill  = 0x80000000 // the whole process
)

// deniedCalls answer EPERM. Each architecture adds its own.
var deniedCalls = []uint32{
	// Large attack surface, of no use in a lab.
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_FANOTIFY_INIT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_MEMFD_SECRET,
	unix.SYS_MBIND, unix.SYS_SET_MEMPOLICY, unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES,
	// Not namespaced.
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_SYSLOG,
	// The whole machine's. The capabilities are dropped as well.
	unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT, unix.SYS_ACCT, unix.SYS_SWAPON, unix.SYS_SWAPOFF,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME,
	// Into other processes and out of the tree.
	unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_PIVOT_ROOT,
}

// absentCalls answer ENOSYS, so that programs fall back to the older call whose
// arguments a filter can see.
var absentCalls = []uint32{
	unix.SYS_CLONE3, unix.SYS_FSOPEN, unix.SYS_FSPICK, unix.SYS_FSMOUNT, unix.SYS_FSCONFIG,
	unix.SYS_MOUNT_SETATTR, unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR, unix.SYS_MOVE_MOUNT,
}

// families and netlinkProtocols are the sockets that a learner may open.
// AF_VSOCK is not namespaced and would reach the real machine's host.
var (
	families         = []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK, unix.AF_PACKET}
	netlinkProtocols = []uint32{unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER, unix.NETLINK_SOCK_DIAG,
		unix.NETLINK_XFRM, unix.NETLINK_GENERIC, unix.NETLINK_KOBJECT_UEVENT}
)

// Offsets in struct seccomp_data, for little-endian machines.
const (
	dataCall = 0
	dataArch = 4
	dataArg0 = 16 // low half; arguments are 8 bytes apart
)

func load(offset uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: offset, Size: 4} }

func loadArg(n uint32) bpf.Instruction { return load(dataArg0 + 8*n) }

func deny(errno unix.Errno) bpf.Instruction {
	return bpf.RetConstant{Val: seccompErrno | uint32(errno)}
}

// onCalls runs body if the call is one of those; body must return or leave the
// number of the call loaded.
func onCalls(calls []uint32, body ...bpf.Instruction) []bpf.Instruction {
	var p []bpf.Instruction
	for _, c := range calls {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: c, SkipTrue: uint8(len(body))})
		p = append(p, body...)
	}
	return p
}

// unlessOneOf returns result if what is loaded is none of the values.
func unlessOneOf(values []uint32, result bpf.Instruction) []bpf.Instruction {
	var p []bpf.Instruction
	for i, v := range values {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(values) - i)})
	}
	return append(p, result)
}

// seccompProgram assembles the filter. With oneID there is only one user, so that
// daemons that change to another are told that they did.
func seccompProgram(oneID bool) ([]bpf.RawInstruction, error) {
	eperm := deny(unix.EPERM)
	p := []bpf.Instruction{
		load(dataArch),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: seccompKill},
		load(dataCall),
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: 0x40000000, SkipTrue: 1}, // x32 has the same arch
		bpf.RetConstant{Val: seccompKill},
	}
	p = append(p, onCalls([]uint32{unix.SYS_CLONE, unix.SYS_UNSHARE}, // a new user namespace has all capabilities
		loadArg(0),
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: unix.CLONE_NEWUSER, SkipTrue: 1}, eperm,
		load(dataCall))...)
	p = append(p, onCalls([]uint32{unix.SYS_IOCTL}, // input faked on somebody else's terminal
		loadArg(1),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.TIOCSTI, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.TIOCLINUX, SkipTrue: 1}, eperm,
		load(dataCall))...)
	p = append(p, onCalls([]uint32{unix.SYS_PRLIMIT64}, // the machine init's limits
		loadArg(0),
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 1, SkipTrue: 1}, eperm,
		load(dataCall))...)
	if oneID {
		p = append(p, onCalls(identityCalls, bpf.RetConstant{Val: seccompErrno})...) // errno 0: success
	}
	socket := slices.Concat(
		[]bpf.Instruction{loadArg(0)},
		unlessOneOf(families, deny(unix.EAFNOSUPPORT)),
		[]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.AF_NETLINK, SkipTrue: uint8(len(netlinkProtocols) + 2)}, loadArg(2)},
		unlessOneOf(netlinkProtocols, deny(unix.EPROTONOSUPPORT)),
		[]bpf.Instruction{load(dataCall)})
	p = append(p, onCalls([]uint32{unix.SYS_SOCKET, unix.SYS_SOCKETPAIR}, socket...)...)
	p = append(p, onCalls(deniedCalls, eperm)...)
	p = append(p, onCalls(deniedCallsHere, eperm)...)
	p = append(p, onCalls(absentCalls, deny(unix.ENOSYS))...)
	p = append(p, bpf.RetConstant{Val: seccompAllow})
	return bpf.Assemble(p)
}

// loadSeccomp puts the filter on this thread; exec keeps it.
func loadSeccomp(oneID bool) error {
	raw, err := seccompProgram(oneID)
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}
