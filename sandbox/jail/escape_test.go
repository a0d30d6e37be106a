package jail

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// rawCall is a system call made by a learner, in words.
func rawCall(nr uintptr, args string) string {
	return fmt.Sprintf(`perl -e 'exit 0 if syscall(%d, %s) >= 0; die "$!\n"'`, nr, args)
}

// A learner is root inside and nobody outside. These are tried for real, by a
// root shell on a machine, and each must be refused in these words.
func TestEscapes(t *testing.T) {
	y := openYard(t, Options{})
	_, ms := startBox(t, y, "w", "host1", "host2")
	m := ms[0]
	for _, c := range []struct{ what, command, refusal string }{
		// To the real machine's devices and file systems.
		{"make a node of the disk", "mknod /tmp/disk b 254 0", "Operation not permitted"},
		{"make a node of memory", "mknod /tmp/mem c 1 1", "Operation not permitted"},
		{"open what the node would be", "head -c1 /dev/mem", "No such file or directory"},
		{"a node of memory, elsewhere", "mkdir /tmp/nodes && mount -t tmpfs n /tmp/nodes && mknod /tmp/nodes/mem c 1 1", "Operation not permitted"},
		{"the real machine's memory", "head -c1 /proc/kcore", "cannot open"},
		{"write to /usr", "touch /usr/new", "cannot touch"},
		{"make /usr writable", "mount -o remount,rw,bind /usr", "permission denied"},
		{"make the file system of /usr writable", "mount -o remount,rw /usr", "permission denied"},
		{"write to what the stubs are", "echo x > /opt/kabel/bin/sudo", "Read-only file system"},
		{"open a file by its handle", rawCall(unix.SYS_OPEN_BY_HANDLE_AT, "0, 0, 0"), "Operation not permitted"},
		{"pivot the root", "mkdir /tmp/r && mount -t tmpfs r /tmp/r && mkdir /tmp/r/o && pivot_root /tmp/r /tmp/r/o", "Operation not permitted"},
		{"the new mount API", rawCall(unix.SYS_FSOPEN, "0, 0"), "Function not implemented"},

		// To the kernel.
		{"write the core pattern", "echo '|/tmp/x' > /proc/sys/kernel/core_pattern", "Permission denied"},
		{"write it by another /proc", "mkdir /tmp/proc && mount -t proc proc /tmp/proc && echo x > /tmp/proc/sys/kernel/core_pattern", "Permission denied"},
		{"write a global sysctl", "echo 1 > /proc/sys/vm/drop_caches", "Permission denied"},
		{"the magic key", "echo h > /proc/sysrq-trigger", "/proc/sysrq-trigger: "},
		{"load a module", rawCall(unix.SYS_FINIT_MODULE, "0, 0, 0"), "Operation not permitted"},
		{"read the kernel's log", "dmesg", "Operation not permitted"},
		{"set the clock", `date -s "$(date)"`, "Operation not permitted"},
		{"restart", rawCall(unix.SYS_REBOOT, "0xfee1dead, 672274793, 0"), "Operation not permitted"},
		{"bpf", rawCall(unix.SYS_BPF, "0, 0, 0"), "Operation not permitted"},
		{"io_uring", rawCall(unix.SYS_IO_URING_SETUP, "1, 0"), "Operation not permitted"},
		{"userfaultfd", rawCall(unix.SYS_USERFAULTFD, "0"), "Operation not permitted"},
		{"performance events", rawCall(unix.SYS_PERF_EVENT_OPEN, "0, 0, 0, 0, 0"), "Operation not permitted"},
		{"the keyring", rawCall(unix.SYS_KEYCTL, "0, -3, 0"), "Operation not permitted"},
		{"a new key", rawCall(unix.SYS_ADD_KEY, "0, 0, 0, 0, -3"), "Operation not permitted"},
		{"somebody's key", rawCall(unix.SYS_REQUEST_KEY, "0, 0, 0, -3"), "Operation not permitted"},
		{"a ring that exists", rawCall(unix.SYS_IO_URING_ENTER, "0, 0, 0, 0, 0, 0"), "Operation not permitted"},
		{"more terminals than a machine has", "mount -o remount,max=100000 /dev/pts", "ermission denied"},

		// To more rights.
		{"a user namespace, unshared", "unshare -U true", "Operation not permitted"},
		{"a user namespace, cloned", rawCall(unix.SYS_CLONE, fmt.Sprint(unix.CLONE_NEWUSER|int(unix.SIGCHLD), ", 0, 0, 0, 0")), "Operation not permitted"},
		{"a user namespace, by the newer call", rawCall(unix.SYS_CLONE3, "0, 0"), "Function not implemented"},
		{"a user namespace, in another namespace", "ip netns add kon; ip netns exec kon unshare -Ur true", "Operation not permitted"},
		{"more processes", "ulimit -Hu 100000", "cannot modify limit"},
		{"more namespaces", "echo 99999 > /proc/sys/user/max_net_namespaces", "Permission denied"},
		{"the kernel's processes first in need", "echo -1000 > /proc/self/oom_score_adj", "Permission denied"},

		// To the init, which has more rights.
		{"trace it", "strace -p 1", "Operation not permitted"},
		{"seize it", rawCall(unix.SYS_PTRACE, fmt.Sprint(unix.PTRACE_SEIZE, ", 1, 0, 0")), "Operation not permitted"},
		{"its memory", "head -c1 /proc/1/mem", "Permission denied"},
		{"its root", "ls /proc/1/root/", "Permission denied"},
		{"its descriptors", "ls -l /proc/1/fd/3", "Permission denied"},
		{"what is behind them", "head -c1 /proc/1/fd/3", "Permission denied"},
		{"its control socket", rawCall(unix.SYS_PIDFD_GETFD, "0, 3, 0"), "Operation not permitted"},
		{"its program", "head -c1 /proc/1/exe", "Permission denied"},
		{"its namespaces", "nsenter -t 1 -a true", "Permission denied"},
		{"its network", "nsenter --net=/proc/1/ns/net true", "Permission denied"},
		{"its network, by /proc of another mount", "mkdir -p /tmp/proc; mount -t proc proc /tmp/proc; nsenter --net=/tmp/proc/1/ns/net true", "Permission denied"},
		{"its namespaces, by its descriptor", fmt.Sprintf(`perl -e '$p = syscall(%d, 1, 0); exit 0 if $p < 0 || syscall(%d, $p, %d) >= 0; die "$!\n"'`, unix.SYS_PIDFD_OPEN, unix.SYS_SETNS, unix.CLONE_NEWNET|unix.CLONE_NEWNS), "Operation not permitted"},
		{"its working directory", "ls /proc/1/cwd/", "Permission denied"},
		{"its threads' memory", "head -c1 /proc/1/task/1/mem", "Permission denied"},
		{"a name for its network", "ip netns attach outside 1", "Permission denied"},
		{"its limits", "prlimit --pid 1 --nofile=3", "Operation not permitted"},
		{"its stack", rawCall(unix.SYS_PROCESS_VM_READV, "1, 0, 0, 0, 0, 0"), "Operation not permitted"},

		// To the outside's network, by ways that have no namespace.
		{"vsock", `perl -e 'socket(S, 40, 1, 0) or die "$!\n"'`, "Address family not supported"},
		{"bluetooth", `perl -e 'socket(S, 31, 1, 0) or die "$!\n"'`, "Address family not supported"},
		{"the audit log", `perl -e 'socket(S, 16, 3, 9) or die "$!\n"'`, "Protocol not supported"},
	} {
		r := sh(t, m, c.command)
		if said := string(r.Stdout) + string(r.Stderr); r.ExitCode == 0 || !strings.Contains(said, c.refusal) {
			t.Errorf("%s: %s\nexit code %d: %s\nwant %s", c.what, c.command, r.ExitCode, said, c.refusal)
		}
	}
}

// Every descriptor and every path that leads to a namespace is tried: none may lead
// out of the machine.
func TestNoNamespaceOfOthersCanBeEntered(t *testing.T) {
	y := openYard(t, Options{})
	_, ms := startBox(t, y, "w", "host1", "host2")
	m := ms[0]
	shOut(t, m, "ip netns add kon")
	// What a program inherits is three descriptors, and none of a namespace, a
	// directory or a socket.
	if got := shOut(t, m, "for f in /proc/self/fd/*; do readlink $f; done | grep -vE '^(pipe:|/dev/null|/proc/[0-9]+/fd$)' | cat"); got != "" {
		t.Errorf("inherited: %s", got)
	}
	entered := shOut(t, m, `for kind in net mnt pid uts ipc user cgroup; do
  own=$(readlink /proc/self/ns/$kind)
  for ns in /proc/[0-9]*/ns/$kind /proc/[0-9]*/task/[0-9]*/ns/$kind /proc/[0-9]*/fd/* /proc/[0-9]*/root/proc/*/ns/$kind; do
    [ "$(readlink $ns)" = "$own" ] && continue
    nsenter --$kind=$ns true 2>/dev/null && echo "$ns $(readlink $ns)"
  done
done; true`)
	if entered != "" {
		t.Errorf("entered: %s", entered)
	}
}

// What a learner plants under the names of namespaces is not followed.
func TestPlantedNames(t *testing.T) {
	y := openYard(t, Options{})
	_, ms := startBox(t, y, "w", "host1", "host2")
	m := ms[0]
	shOut(t, m, `ip netns add kon; cd /run/netns
ln -s /proc/1/ns/net init; ln -s /proc/self/ns/net own; ln -s ../../proc/1/ns/net up; ln -s kon link; ln -s /run/netns/kon absolute
mkfifo fifo; mkdir dir; echo x > file; touch empty; ln -s /dev/zero zero; perl -e 'use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("socket"))'
touch uts mnt pid; mount --bind /proc/self/ns/uts uts; mount --bind /proc/self/ns/pid pid; touch dev; mount --bind /dev/zero dev`)
	names, err := m.Netns()
	if err != nil || !slices.Equal(names, []string{"kon"}) {
		t.Errorf("taken for namespaces: %q, %v", names, err)
	}
	for _, name := range []string{"init", "own", "up", "link", "absolute", "fifo", "dir", "file", "empty", "zero", "socket", "uts", "mnt", "pid", "dev", "../netns/kon", ".", ".."} {
		fd, err := m.OpenNetns(name)
		if err == nil {
			unix.Close(fd)
			t.Errorf("%s: it was opened", name)
		}
	}
	// Also where all of the directory is the learner's.
	shOut(t, m, "umount -l /run/netns; mv /run/netns /run/was; ln -s /proc/1/ns /run/netns")
	if names, err := m.Netns(); err == nil && len(names) > 0 {
		t.Errorf("behind a link: %q", names)
	}
	if fd, err := m.OpenNetns("net"); err == nil {
		unix.Close(fd)
		t.Error("behind a link: it was opened")
	}
}

// A control group may be mounted and read, but not written.
func TestAControlGroupIsNotTheLearners(t *testing.T) {
	m := startMachine1(t)
	tried := 0
	for _, c := range []struct{ mount, write string }{
		{"-t cgroup2", "echo 0 > %s/cgroup.procs"},
		{"-t cgroup2", "mkdir %s/x"},
		{"-t cgroup -o memory", "echo -1 > %s/memory.limit_in_bytes"},
		{"-t cgroup -o memory", "echo '|/x' > %s/release_agent"},
		{"-t cgroup -o pids", "echo 0 > %s/tasks"},
		{"-t cgroup -o pids", "echo max > %s/pids.max || echo max > %[1]s/learner/pids.max"},
	} {
		dir := fmt.Sprintf("/tmp/cg%d", tried)
		if sh(t, m, fmt.Sprintf("mkdir -p %s && mount %s cg %s", dir, c.mount, dir)).ExitCode != 0 {
			continue // this machine has no such hierarchy
		}
		tried++
		write := fmt.Sprintf(c.write, dir)
		if r := sh(t, m, write); r.ExitCode == 0 || !strings.Contains(string(r.Stderr), "ermission denied") {
			t.Errorf("%s: exit code %d, %s", write, r.ExitCode, r.Stderr)
		}
		// Where the world has a group of its own, no other is in sight.
		if out := shOut(t, m, "ls "+dir); len(m.box.groups.dirs) > 0 && strings.Contains(out, "kabel-") {
			t.Errorf("other worlds are in sight: %s", out)
		}
	}
	if tried == 0 && len(m.box.yard.cgroups.missing) == 0 {
		t.Error("no hierarchy could be tried")
	}
}

func TestNoWayToTheRealMachinesNetwork(t *testing.T) {
	m := startMachine1(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	abstract, err := net.Listen("unix", "@kabel-test-outside")
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	shOut(t, m, "ip link set lo up")
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, c := range []struct{ command, refusal string }{
		{"nc -w1 127.0.0.1 " + port, ""}, // its own loopback, where nobody listens
		{"ping -c1 -W1 8.8.8.8", "Network is unreachable"},
		{"socat -u ABSTRACT-CONNECT:kabel-test-outside -", "Connection refused"},
		{"ip route get 8.8.8.8", "Network is unreachable"},
	} {
		r := sh(t, m, c.command)
		if r.ExitCode == 0 || !strings.Contains(string(r.Stderr), c.refusal) && !strings.Contains(string(r.Stdout), c.refusal) {
			t.Errorf("%s: exit code %d: %s%s", c.command, r.ExitCode, r.Stdout, r.Stderr)
		}
	}
	if got := shOut(t, m, "cat /proc/net/dev | grep -c :"); got != "1" {
		t.Errorf("interfaces: %s", got)
	}
}

func TestALearnerIsNobodyOutside(t *testing.T) {
	m := startMachine1(t)
	if m.box.yard.Rootless() {
		return // then a learner is the user who started all this
	}
	if err := m.Spawn(deadline(t), Command{Argv: []string{"sleep", "1000"}}); err != nil {
		t.Fatal(err)
	}
	pids, err := m.box.Pids()
	if err != nil || len(pids) != 3 {
		t.Fatalf("%v, %v", pids, err)
	}
	for _, p := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		if err != nil {
			t.Fatal(err)
		}
		var uid int
		if _, err := fmt.Sscanf(regexp.MustCompile(`Uid:.*`).FindString(string(status)), "Uid: %d", &uid); err != nil || uid < firstID {
			t.Errorf("process %d has user id %d, %v", p, uid, err)
		}
	}
}

// A learner who has the user's own id must not be able to change this program.
func TestTheSealedCopyCanNotBeWritten(t *testing.T) {
	f, err := sealedSelf()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	path := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		defer w.Close()
		_, err = w.WriteAt([]byte("x"), 0)
	}
	if err == nil {
		t.Error("it can")
	}
	own, err := os.Stat(self)
	if err != nil {
		t.Fatal(err)
	}
	if copied, err := os.Stat(path); err != nil || copied.Size() != own.Size() {
		t.Errorf("%s: %v, %v", filepath.Base(path), copied, err)
	}
}
