package jail

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The filter is run in user space, on every decision that it makes.
func TestTheSystemCallFilter(t *testing.T) {
	const allow, kill = seccompAllow, seccompKill
	errno := func(e unix.Errno) uint32 { return seccompErrno | uint32(e) }
	type call struct {
		nr, a0, a1, a2 uint32
	}
	for _, c := range []struct {
		what  string
		call  call
		want  uint32
		oneID uint32 // where it differs
	}{
		{what: "write", call: call{nr: unix.SYS_WRITE}, want: allow},
		{what: "mount", call: call{nr: unix.SYS_MOUNT}, want: allow},
		{what: "setns", call: call{nr: unix.SYS_SETNS}, want: allow},
		{what: "fork", call: call{nr: unix.SYS_CLONE, a0: uint32(unix.SIGCHLD)}, want: allow},
		{what: "unshare a network", call: call{nr: unix.SYS_UNSHARE, a0: unix.CLONE_NEWNET | unix.CLONE_NEWNS}, want: allow},
		{what: "unshare a user namespace", call: call{nr: unix.SYS_UNSHARE, a0: unix.CLONE_NEWUSER}, want: errno(unix.EPERM)},
		{what: "among others", call: call{nr: unix.SYS_UNSHARE, a0: unix.CLONE_NEWNET | unix.CLONE_NEWUSER}, want: errno(unix.EPERM)},
		{what: "clone one", call: call{nr: unix.SYS_CLONE, a0: unix.CLONE_NEWUSER | uint32(unix.SIGCHLD)}, want: errno(unix.EPERM)},
		{what: "clone3, whose flags can't be seen", call: call{nr: unix.SYS_CLONE3}, want: errno(unix.ENOSYS)},
		{what: "the new mount API", call: call{nr: unix.SYS_MOVE_MOUNT}, want: errno(unix.ENOSYS)},
		{what: "bpf", call: call{nr: unix.SYS_BPF}, want: errno(unix.EPERM)},
		{what: "io_uring", call: call{nr: unix.SYS_IO_URING_SETUP}, want: errno(unix.EPERM)},
		{what: "keys", call: call{nr: unix.SYS_KEYCTL}, want: errno(unix.EPERM)},
		{what: "a UDP socket", call: call{nr: unix.SYS_SOCKET, a0: unix.AF_INET, a1: unix.SOCK_DGRAM}, want: allow},
		{what: "a packet socket", call: call{nr: unix.SYS_SOCKET, a0: unix.AF_PACKET}, want: allow},
		{what: "vsock", call: call{nr: unix.SYS_SOCKET, a0: unix.AF_VSOCK}, want: errno(unix.EAFNOSUPPORT)},
		{what: "XDP", call: call{nr: unix.SYS_SOCKET, a0: unix.AF_XDP}, want: errno(unix.EAFNOSUPPORT)},
		{what: "a pair of vsocks", call: call{nr: unix.SYS_SOCKETPAIR, a0: unix.AF_VSOCK}, want: errno(unix.EAFNOSUPPORT)},
		{what: "a pair of Unix sockets", call: call{nr: unix.SYS_SOCKETPAIR, a0: unix.AF_UNIX}, want: allow},
		{what: "rtnetlink", call: call{nr: unix.SYS_SOCKET, a0: unix.AF_NETLINK, a2: unix.NETLINK_ROUTE}, want: allow},
		{what: "generic netlink", call: call{nr: unix.SYS_SOCKET, a0: unix.AF_NETLINK, a2: unix.NETLINK_GENERIC}, want: allow},
		{what: "netlink audit", call: call{nr: unix.SYS_SOCKET, a0: unix.AF_NETLINK, a2: unix.NETLINK_AUDIT}, want: errno(unix.EPROTONOSUPPORT)},
		{what: "input for another's terminal", call: call{nr: unix.SYS_IOCTL, a1: unix.TIOCSTI}, want: errno(unix.EPERM)},
		{what: "the console's", call: call{nr: unix.SYS_IOCTL, a1: unix.TIOCLINUX}, want: errno(unix.EPERM)},
		{what: "a terminal's size", call: call{nr: unix.SYS_IOCTL, a1: unix.TIOCGWINSZ}, want: allow},
		{what: "its own limits", call: call{nr: unix.SYS_PRLIMIT64}, want: allow},
		{what: "the init's limits", call: call{nr: unix.SYS_PRLIMIT64, a0: 1}, want: errno(unix.EPERM)},
		{what: "setuid", call: call{nr: unix.SYS_SETUID, a0: 65534}, want: allow, oneID: errno(0)},
		{what: "fchown", call: call{nr: unix.SYS_FCHOWN}, want: allow, oneID: errno(0)},
		{what: "an x32 call", call: call{nr: 0x40000000 | unix.SYS_WRITE}, want: kill},
	} {
		for _, oneID := range []bool{false, true} {
			want := c.want
			if oneID && c.oneID != 0 {
				want = c.oneID
			}
			data := seccompData(auditArch, c.call.nr, c.call.a0, c.call.a1, c.call.a2)
			if got := runFilter(t, oneID, data); got != want {
				t.Errorf("%s (one id: %v): got %#x, want %#x", c.what, oneID, got, want)
			}
		}
	}
	if got := runFilter(t, false, seccompData(unix.AUDIT_ARCH_I386, 1, 0, 0, 0)); got != kill {
		t.Errorf("a 32-bit call: got %#x", got)
	}
}

// seccompData is struct seccomp_data, in the byte order of the interpreter below.
func seccompData(arch, nr uint32, args ...uint32) []byte {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b[dataCall:], nr)
	binary.BigEndian.PutUint32(b[dataArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(b[dataArg0+8*i:], a)
	}
	return b
}

func runFilter(t *testing.T, oneID bool, data []byte) uint32 {
	t.Helper()
	raw, err := seccompProgram(oneID)
	if err != nil {
		t.Fatal(err)
	}
	program, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter can't be read back")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	result, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(result)
}
