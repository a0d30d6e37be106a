package jail

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ownSysctls change by themselves, or by what else happens on the machine.
var ownSysctls = map[string]string{
	"fs/dentry-state":                   "counts what is cached",
	"fs/file-nr":                        "counts open files",
	"fs/aio-nr":                         "counts what is under way",
	"fs/inode-nr":                       "counts what is cached",
	"fs/inode-state":                    "counts what is cached",
	"kernel/pid_max":                    "each pid namespace has one since Linux 6.14, and sandboxes set the machine's",
	"kernel/ns_last_pid":                "grows with each process",
	"kernel/perf_event_max_sample_rate": "the kernel lowers it where samples take long",
	"kernel/pty/nr":                     "counts terminals",
	"kernel/random/entropy_avail":       "changes with what is drawn",
	"kernel/random/uuid":                "is another one each time",
	"net/netfilter/nf_conntrack_count":  "counts connections",
}

// tableSysctls are set by the sandboxes that may come and go beside this test. No
// learner may change them, and the test looks at that from inside.
var tableSysctls = regexp.MustCompile(`^(net/ipv[46]/neigh/default/gc_thresh[123]|net/(netfilter/)?nf_conntrack_(max|buckets)|kernel/pty/(max|reserve)|` +
	`kernel/threads-max|fs/(file-max|inotify/max_user_(instances|watches))|user/max_.*)$`)

// outerSysctls are all settings of the machine that can be read, as they are in its
// own namespaces.
func outerSysctls(t *testing.T) map[string]string {
	t.Helper()
	values := map[string]string{}
	err := filepath.WalkDir("/proc/sys", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // what can't be listed can't be compared
		}
		name := strings.TrimPrefix(path, "/proc/sys/")
		text, err := os.ReadFile(path)
		if err == nil && ownSysctls[name] == "" && !tableSysctls.MatchString(name) {
			values[name] = string(text)
		}
		return nil
	})
	if err != nil || len(values) < 300 {
		t.Fatalf("%d settings, %v", len(values), err)
	}
	return values
}

// writeSysctls writes each setting below /proc/sys: its own value, then, where its
// first word is a number, others. It tells the names, whether the own value could
// be written, and the value that it has in the end; and puts nothing back.
const writeSysctls = `
use strict; use File::Find;
sub get { my ($f) = @_; open(my $h, '<', $f) or return undef; local $/; my $v = <$h>; close $h; return $v }
sub put { my ($f, $v) = @_; open(my $h, '>', $f) or return 0; my $n = syswrite($h, $v); close $h; return defined $n }
my @files; find({ no_chdir => 1, wanted => sub { push @files, $_ if -f $_ } }, '/proc/sys');
my %spared = map { $_ => 1 } @ARGV;
for my $f (sort @files) {
	next if $spared{substr($f, 10)};
	my $was = get($f); next unless defined $was;
	my $own = put($f, $was) ? 1 : 0;
	if ($was =~ /^(-?\d+)(.*)$/s) {
		for my $v ($1 + 1, $1 - 1, 0, 1) { last if $v != $1 && put($f, "$v$2") && get($f) ne $was }
	}
	my $now = get($f) // ''; s/\s+/ /g for $was, $now;
	print substr($f, 10), "\t$own\t$was\t$now\n";
}
`

// TestNoSysctlReachesTheMachine writes all settings that can be seen in a machine,
// and in a namespace that its learner made, and compares the machine's own.
func TestNoSysctlReachesTheMachine(t *testing.T) {
	y := openYard(t, Options{})
	_, ms := startBox(t, y, "w", "host1")
	m := ms[0]
	// What operators are told that it can't be refused here is not tried: the machine
	// would stay as it makes it.
	spared := ""
	for _, name := range machineSysctls {
		if told(y, name) {
			spared += " " + name
		}
	}
	shOut(t, m, "ip netns add kon; mkdir /tmp/proc; cat > /tmp/write <<'END'\n"+writeSysctls+"\nEND")
	for _, where := range []string{"", "ip netns exec kon ", "nsenter --net=/run/netns/kon ", "unshare -n ", "unshare -fp --mount-proc "} {
		t.Run("by "+where+"perl", func(t *testing.T) {
			before := outerSysctls(t)
			report := shOut(t, m, where+"perl /tmp/write"+spared)
			after := outerSysctls(t)
			changed := map[string]string{}
			tried := 0
			for line := range strings.Lines(report) {
				f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
				if len(f) != 4 {
					t.Fatalf("%q", line)
				}
				if f[1] == "1" {
					tried++
				}
				if f[2] != f[3] {
					changed[f[0]] = f[3]
					if tableSysctls.MatchString(f[0]) {
						t.Errorf("%s was %s, and is %s", f[0], f[2], f[3])
					}
				}
			}
			// That much there is in a network namespace alone.
			if tried < 300 || len(changed) < 100 {
				t.Errorf("only %d settings could be written, %d of them changed", tried, len(changed))
			}
			t.Logf("%d settings could be written, %d of them changed", tried, len(changed))
			var reached []string
			for name, was := range before {
				if now := after[name]; now != was {
					reached = append(reached, fmt.Sprintf("%s was %q, is %q", name, was, now))
					if err := os.WriteFile("/proc/sys/"+name, []byte(was), 0); err != nil {
						t.Errorf("%s can't be put back: %v", name, err)
					}
				}
			}
			slices.Sort(reached)
			for _, r := range reached {
				t.Error(r)
			}
		})
	}
}

// told says that operators know that a setting can be written.
func told(y *Yard, name string) bool {
	return slices.ContainsFunc(y.Missing(), func(s string) bool { return strings.Contains(s, strings.ReplaceAll(name, "/", ".")) })
}

func TestSettingsOfTheWholeMachineCanNotBeWritten(t *testing.T) {
	y := openYard(t, Options{})
	_, ms := startBox(t, y, "w", "host1")
	shOut(t, ms[0], "ip netns add kon; mkdir /tmp/proc; mount -t proc proc /tmp/proc")
	for _, name := range machineSysctls {
		if _, err := os.Stat("/proc/sys/" + name); err != nil || told(y, name) {
			continue
		}
		for _, command := range []string{
			"echo 0 | tee /proc/sys/%s", "sysctl -w %s=0", "echo 0 | tee /tmp/proc/sys/%s", "ip netns exec kon sh -c 'echo 0 | tee /proc/sys/%s'",
			"nsenter --net=/run/netns/kon sh -c 'echo 0 | tee /tmp/proc/sys/%s'", "unshare -n sh -c 'echo 0 | tee /proc/sys/%s'",
			"unshare -fp --mount-proc sh -c 'echo 0 | tee /proc/sys/%s'",
		} {
			command = fmt.Sprintf(command, name)
			if r := sh(t, ms[0], command); r.ExitCode == 0 || !strings.Contains(string(r.Stderr), "peration not permitted") && !strings.Contains(string(r.Stderr), "ermission denied") {
				t.Errorf("%s: %d, %s", command, r.ExitCode, r.Stderr)
			}
		}
		shOut(t, ms[0], "cat /proc/sys/"+name)
	}
	shOut(t, ms[0], "sysctl -w net.netfilter.nf_conntrack_udp_timeout=31; ip netns exec kon sysctl -w net.ipv4.ip_forward=1")
}
