package jail

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMachinesAreApart(t *testing.T) {
	y := openYard(t, Options{})
	b, ms := startBox(t, y, "w", "host1", "host2")
	other, others := startBox(t, y, "other", "host1")
	all := append(ms, others...)
	for _, kind := range []string{"net", "mnt", "pid", "uts", "ipc", "user", "cgroup"} {
		seen := map[string]bool{}
		for _, m := range all {
			seen[shOut(t, m, "readlink /proc/self/ns/"+kind)] = true
		}
		if len(seen) != len(all) {
			t.Errorf("%s namespaces of %d machines: %v", kind, len(all), seen)
		}
	}
	for _, m := range all {
		for command, want := range map[string]string{
			"hostname": m.Name(),
			// Its own init and no other.
			"tr '\\0' ' ' < /proc/1/cmdline | cut -d' ' -f4": m.Name(),
			"ps ax -o args= | grep -c '^kabel:'":             "1",
			"ls /sys/class/net":                              "lo",
			"ls /run/netns | wc -l":                          "0",
			"ip -br link | wc -l":                            "1",
			"id -u":                                          "0",
			"cat /etc/hostname":                              m.Name(),
			"getent hosts " + m.Name() + " | cut -c1-9":      "127.0.1.1",
		} {
			if got := shOut(t, m, command); got != want {
				t.Errorf("%s: %s: got %q, want %q", m.Name(), command, got, want)
			}
		}
		shOut(t, m, "touch /mark-"+m.box.name+"-"+m.Name()+" /tmp/mark /dev/shm/mark")
	}
	for _, m := range all {
		if got, want := shOut(t, m, "echo /mark*"), "/mark-"+m.box.name+"-"+m.Name(); got != want {
			t.Errorf("files are shared: %s has %s", m.Name(), got)
		}
	}
	if err := b.Kill(); err != nil {
		t.Error(err)
	}
	if got := shOut(t, others[0], "hostname"); got != "host1" {
		t.Errorf("the other box after one was killed: %s", got)
	}
	select {
	case <-other.Done():
		t.Error("the other box is done")
	default:
	}
}

func TestTheUsualToolsWork(t *testing.T) {
	m := startMachine1(t)
	for _, c := range []struct{ command, want string }{
		{"ip netns add kon && ip netns && ip -n kon link show lo | wc -l", "kon\n2"},
		{"ip netns exec kon ip link set lo up && ip netns exec kon ping -c1 -W1 127.0.0.1 | grep -c ' 0% packet loss'", "1"},
		{"nsenter --net=/run/netns/kon ip -br addr show lo | awk '{print $1}'", "lo"},
		{"ip link add veth1 type veth peer name veth2 netns kon && ip -br link show veth1 | cut -c1-5", "veth1"},
		{"sysctl -wq net.ipv4.ip_forward=1 && cat /proc/sys/net/ipv4/ip_forward", "1"},
		{"echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; cat /proc/sys/net/ipv4/conf/all/rp_filter", "0"},
		{"sudo -n FOO=bar env | grep FOO; sudo -u root id -u", "FOO=bar\n0"},
		{"echo '200 kabel' >> /etc/iproute2/rt_tables; ip rule add from 10.0.0.1 table kabel && ip rule | grep -c kabel", "1"},
		{"cat /proc/self/oom_score_adj", "1000"},
		{"echo net.ipv4.ip_forward=1 > /etc/sysctl.d/99-sysctl.conf && sysctl -p", "net.ipv4.ip_forward = 1"},
		{"ip netns attach own $$ && ip netns exec own ls /sys/class/net/lo/mtu && ip netns del own", "/sys/class/net/lo/mtu"},
		{"bash -ic 'complete -p -D'", "complete -F complete_first -D"},
		{"bash -ic 'echo ${PS1@P}' 2>/dev/null", "root@host1:~#"},
		{"ip netns exec kon bash -ic 'echo ${PS1@P}' 2>/dev/null", "root@host1[kon]:~#"},
		{"mkdir -p /opt/cni/bin /var/lib/cni /etc/cni && echo made", "made"},
		{"for i in $(seq 1 50); do for s in $(seq 1 64); do kill -$s 1 2>/dev/null; done; done; hostname", "host1"},
		{"grep SigIgn /proc/self/status | cut -f2", "0000000000000000"},
	} {
		if got := shOut(t, m, c.command); got != c.want {
			t.Errorf("%s\ngot  %q\nwant %q", c.command, got, c.want)
		}
	}
	for _, tool := range []string{"iptables -S", "iptables-legacy -S", "nft list ruleset", "tcpdump --version",
		"socat -V", "ss -tln", "bridge link", "ip tuntap add tun0 mode tun", "cat /proc/net/nf_conntrack"} {
		if !strings.Contains(strings.Join(m.box.yard.Missing(), " "), "TUN") || !strings.Contains(tool, "tun") {
			shOut(t, m, tool)
		}
	}
}

func TestNamesOfBoxesAndMachines(t *testing.T) {
	y := openYard(t, Options{})
	b, _ := startBox(t, y, "w", "host1")
	for name, errno := range map[string]unix.Errno{"w": unix.EEXIST, "": unix.EINVAL, "../x": unix.EINVAL, "a b": unix.EINVAL, "-x": unix.EINVAL} {
		if _, err := y.Start(deadline(t), name); !errors.Is(err, errno) {
			t.Errorf("box %q: %v, want %v", name, err, errno)
		}
	}
	for name, errno := range map[string]unix.Errno{"host1": unix.EEXIST, "": unix.EINVAL, strings.Repeat("x", 64): unix.EINVAL} {
		if _, err := b.AddMachine(deadline(t), name); !errors.Is(err, errno) {
			t.Errorf("machine %q: %v, want %v", name, err, errno)
		}
	}
	if err := b.Kill(); err != nil {
		t.Error(err)
	}
	if err := b.Kill(); err != nil {
		t.Errorf("killed twice: %v", err)
	}
	if _, err := b.AddMachine(deadline(t), "late"); !errors.Is(err, ErrGone) {
		t.Errorf("a machine in a dead box: %v", err)
	}
	startBox(t, y, "w", "host1") // the name is free again
}

func TestABoxIsGoneAfterKill(t *testing.T) {
	y := openYard(t, Options{})
	b, ms := startBox(t, y, "w", "host1", "host2")
	for _, m := range ms {
		if err := m.Spawn(deadline(t), Command{Argv: []string{"sleep", "1000"}}); err != nil {
			t.Fatal(err)
		}
	}
	running := make(chan error)
	go func() {
		_, err := ms[0].Exec(deadline(t), Command{Argv: []string{"sleep", "1000"}})
		running <- err
	}()
	eventually(t, "the Exec runs", func() bool {
		return strings.Count(string(sh(t, ms[0], "ps ax -o args=").Stdout), "sleep") == 2
	})
	pids, err := b.Pids()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := descendants(b.pid)
	slices.Sort(pids)
	slices.Sort(tree)
	if err != nil || !slices.Equal(pids, tree) || !slices.Contains(pids, ms[1].Pid()) || len(pids) != 6 {
		t.Errorf("processes of the box: %v by its cgroup, %v by descent, %v", pids, tree, err)
	}
	namespaces := namespacesOf(pids)
	if err := b.Kill(); err != nil {
		t.Error(err)
	}
	<-b.Done()
	<-ms[0].Done()
	if _, err := ms[0].OpenNetns("kon"); !errors.Is(err, ErrGone) {
		t.Errorf("a name on a dead machine: %v", err)
	}
	if err := ms[0].AddNetns(deadline(t), "kon"); !errors.Is(err, ErrGone) {
		t.Errorf("a new name on a dead machine: %v", err)
	}
	if err := <-running; !errors.Is(err, ErrGone) {
		t.Errorf("an Exec in a box that is killed: %v", err)
	}
	for _, p := range pids {
		if unix.Kill(p, 0) == nil {
			t.Errorf("process %d lives", p)
		}
	}
	everyone, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range everyone {
		for _, kind := range kinds {
			if ns, err := os.Readlink("/proc/" + p.Name() + "/ns/" + kind); err == nil && namespaces[ns] {
				t.Errorf("process %s is in %s of the dead box", p.Name(), ns)
			}
		}
	}
}

var kinds = []string{"net", "mnt", "pid", "uts", "ipc", "user"}

// namespacesOf are those of processes that are not ours.
func namespacesOf(pids []int) map[string]bool {
	found := map[string]bool{}
	for _, p := range pids {
		for _, kind := range kinds {
			ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", p, kind))
			own, _ := os.Readlink("/proc/self/ns/" + kind)
			if err == nil && ns != own {
				found[ns] = true
			}
		}
	}
	return found
}

func TestManyAtOnce(t *testing.T) {
	y := openYard(t, Options{})
	var all sync.WaitGroup
	for i := range 5 {
		all.Go(func() {
			b, err := y.Start(deadline(t), fmt.Sprintf("w%d", i))
			if err != nil {
				t.Error(err)
				return
			}
			var machines sync.WaitGroup
			for j := range 4 {
				machines.Go(func() {
					m, err := b.AddMachine(deadline(t), fmt.Sprintf("host%d", j))
					if err != nil {
						t.Error(err)
						return
					}
					for _, n := range []string{"a", "b"} {
						if err := m.AddNetns(deadline(t), n); err != nil {
							t.Error(err)
						}
					}
					if got := shOut(t, m, "hostname; ls /run/netns"); got != m.Name()+"\na\nb" {
						t.Errorf("%s: %q", m.Name(), got)
					}
				})
			}
			machines.Wait()
			if i%2 == 0 {
				if err := b.Kill(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestABoxKilledWhileItIsFilled(t *testing.T) {
	y := openYard(t, Options{})
	for range 10 {
		b, err := y.Start(deadline(t), "w")
		if err != nil {
			t.Fatal(err)
		}
		var machines sync.WaitGroup
		for _, n := range []string{"host1", "host2", "host3"} {
			machines.Go(func() {
				m, err := b.AddMachine(deadline(t), n)
				if err == nil {
					_, err = m.Exec(deadline(t), Command{Argv: []string{"true"}})
				}
				if err != nil && !errors.Is(err, ErrGone) {
					t.Errorf("in a box that is being killed: %v", err)
				}
			})
		}
		time.AfterFunc(5*time.Millisecond, func() { _ = b.Kill() })
		machines.Wait()
		if err := b.Kill(); err != nil {
			t.Error(err)
		}
	}
}
