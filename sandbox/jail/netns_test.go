package jail

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNamedNamespaces(t *testing.T) {
	y := openYard(t, Options{})
	_, ms := startBox(t, y, "w", "host1", "host2")
	m := ms[0]
	if err := m.AddNetns(deadline(t), "by-api"); err != nil {
		t.Fatal(err)
	}
	shOut(t, m, "ip netns add typed && ip netns exec by-api ip link set lo up")
	wantNetns(t, m, "by-api", "typed")
	wantNetns(t, ms[1])
	if got := shOut(t, m, "ip netns list | sort"); got != "by-api\ntyped" {
		t.Errorf("ip netns list says %q", got)
	}
	if err := m.AddNetns(deadline(t), "typed"); !errors.Is(err, unix.EEXIST) {
		t.Errorf("a name that is taken: %v", err)
	}
	for _, n := range []string{"by-api", "typed"} {
		r, err := m.Exec(deadline(t), Command{Argv: []string{"ip", "netns", "identify"}, Netns: n})
		if err != nil || string(r.Stdout) != n+"\n" {
			t.Errorf("Exec in %s was in %q: %v", n, r.Stdout, err)
		}
		// The learner has the rights of root there, whoever made it.
		r, err = m.Exec(deadline(t), Command{Argv: []string{"ip", "link", "add", "br0", "type", "bridge"}, Netns: n})
		if err != nil || r.ExitCode != 0 {
			t.Errorf("in %s: %s, %v", n, r.Stderr, err)
		}
	}
	shOut(t, m, "ip netns del by-api")
	if err := m.DelNetns(deadline(t), "typed"); err != nil {
		t.Error(err)
	}
	wantNetns(t, m)
	if err := m.DelNetns(deadline(t), "typed"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a name that is gone: %v", err)
	}
	for _, n := range []string{"", ".", "..", "a/b", "../../etc/x"} {
		if err := errors.Join(m.AddNetns(deadline(t), n)); !errors.Is(err, unix.EINVAL) {
			t.Errorf("add %q: %v", n, err)
		}
	}
}

func wantNetns(t *testing.T, m *Machine, want ...string) {
	t.Helper()
	got, err := m.Netns()
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("names on %s: %q, want %q (%v)", m.Name(), got, want, err)
	}
}

func TestTheMountTableTellsOfNewNames(t *testing.T) {
	m := startMachine1(t)
	changed := func() bool {
		poll := []unix.PollFd{{Fd: int32(m.Mountinfo()), Events: unix.POLLPRI}}
		if _, err := unix.Poll(poll, 0); err != nil {
			t.Fatal(err)
		}
		return poll[0].Revents&unix.POLLPRI != 0
	}
	eventually(t, "it is quiet", func() bool { return !changed() })
	for i := range 20 {
		shOut(t, m, fmt.Sprintf("ip netns add n%d", i))
		if !changed() {
			t.Errorf("name %d came without a word", i)
		}
		if changed() {
			t.Errorf("name %d is told twice", i)
		}
	}
}

// What a learner can put into /run/netns must be neither listed nor opened.
func TestHostileNames(t *testing.T) {
	y := openYard(t, Options{})
	_, ms := startBox(t, y, "w", "host1")
	m := ms[0]
	shOut(t, m, "ip netns add honest")
	for name, make := range map[string]string{
		"file":      "touch /run/netns/file",
		"symlink":   "ln -s /proc/self/ns/net /run/netns/symlink",
		"to-honest": "ln -s honest /run/netns/to-honest",
		"fifo":      "mkfifo /run/netns/fifo",
		"dir":       "mkdir /run/netns/dir",
		"device":    "touch /run/netns/device && mount --bind /dev/zero /run/netns/device",
		"uts":       "touch /run/netns/uts && mount --bind /proc/self/ns/uts /run/netns/uts",
		"root":      "mkdir /run/netns/root && mount --bind / /run/netns/root",
	} {
		shOut(t, m, make)
		if fd, err := m.OpenNetns(name); err == nil {
			unix.Close(fd)
			t.Errorf("%s can be opened", name)
		}
		if _, err := m.Exec(deadline(t), Command{Argv: []string{"true"}, Netns: name}); err == nil {
			t.Errorf("a program can run in %s", name)
		}
	}
	wantNetns(t, m, "honest")

	// Neither can the directory itself lead elsewhere.
	shOut(t, m, "mkdir /tmp/fake && ln -s /proc/1/ns /tmp/fake/netns && mount --bind /tmp/fake /run")
	if fd, err := m.OpenNetns("net"); err == nil {
		unix.Close(fd)
		t.Error("/run/netns is followed out of the tree")
	}
	if names, err := m.Netns(); len(names) > 0 {
		t.Errorf("names from a false /run/netns: %q, %v", names, err)
	}
}

func TestANamespaceOfAnotherUserNamespaceIsRefused(t *testing.T) {
	y := openYard(t, Options{})
	b, ms := startBox(t, y, "w", "host1", "host2")
	for what, other := range map[string]int{"the box's own": b.NetNS(), "another machine's": ms[1].NetNS()} {
		if err := sameOwner(other, ms[0].NetNS()); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := sameOwner(ms[0].NetNS(), ms[0].NetNS()); err != nil {
		t.Error(err)
	}
}

func TestTheNumberOfNamespacesIsLimited(t *testing.T) {
	y := openYard(t, Options{Limits: Limits{Namespaces: 6}})
	_, ms := startBox(t, y, "w", "host1", "host2")
	var made []string
	var err error
	for err == nil {
		name := fmt.Sprintf("n%d", len(made))
		if err = ms[0].AddNetns(deadline(t), name); err == nil {
			made = append(made, name)
		}
	}
	// Each machine has one, and the box's own is counted where all have one user.
	if len(made) < 3 || len(made) > 4 || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%d were made, then: %v", len(made), err)
	}
	wantNetns(t, ms[0], made...)
	r := sh(t, ms[1], "echo 100 > /proc/sys/user/max_net_namespaces; ip netns add more")
	if r.ExitCode == 0 {
		t.Error("the other machine of the box has a limit of its own, or could raise it")
	}
}
