package kernel

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kabel/sandbox/host"
)

// The benchmark's sender is a process of its own, so that what it costs and what
// the kernel does for it does not count for those that capture.
const (
	senderRate  = "KABEL_SENDER_RATE"  // packets per second
	senderCount = "KABEL_SENDER_COUNT" // packets
)

// TestSender is no test but the sender; descriptor 3 is its namespace.
func TestSender(t *testing.T) {
	rate, count := digits(os.Getenv(senderRate)), digits(os.Getenv(senderCount))
	if count == 0 {
		return
	}
	runtime.LockOSThread()
	if err := unix.Setns(3, unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		t.Fatal(err)
	}
	ifr, err := unix.NewIfreq("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: int(ifr.Uint32())}); err != nil {
		t.Fatal(err)
	}
	// A small UDP datagram to a station that is not there.
	frame := append(slices.Repeat([]byte{2}, 12), 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 10, 10, 0, 0, 99, 0x30, 0x39, 0x23, 0x28, 0, 26, 0, 0)
	frame = append(frame, make([]byte, 18)...)
	vec := unix.Iovec{Base: &frame[0], Len: uint64(len(frame))}
	type mmsghdr struct {
		unix.Msghdr
		sent uint32
		_    uint32
	}
	batch := make([]mmsghdr, 64)
	for i := range batch {
		batch[i].Iov, batch[i].Iovlen = &vec, 1
	}
	sent, began := 0, time.Now()
	for sent < count {
		due := min(count, int(time.Since(began).Seconds()*float64(rate))+1)
		if sent >= due {
			time.Sleep(50 * time.Microsecond)
			continue
		}
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&batch[0])), uintptr(min(len(batch), due-sent)), 0, 0, 0)
		if errno != 0 && errno != unix.ENOBUFS && errno != unix.EINTR {
			t.Fatal(errno)
		}
		if errno == 0 {
			sent += int(n)
		}
	}
	fmt.Printf("sent %d in %d ns\n", sent, time.Since(began))
}

func digits(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// send runs the sender and returns how many packets per second it managed.
func send(b *testing.B, ns, rate, count int) float64 {
	b.Helper()
	dup, err := unix.FcntlInt(uintptr(ns), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	f := os.NewFile(uintptr(dup), "netns")
	defer f.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSender$")
	cmd.Env = append(os.Environ(), fmt.Sprint(senderRate, "=", rate), fmt.Sprint(senderCount, "=", count))
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.CombinedOutput()
	var sent int
	var took time.Duration
	for line := range strings.Lines(string(out)) {
		_, _ = fmt.Sscanf(line, "sent %d in %d ns", &sent, &took) // or it is another line
	}
	if err != nil || sent != count {
		b.Fatalf("the sender: %v: %s", err, out)
	}
	return float64(sent) / took.Seconds()
}

// spent is the CPU time of this process.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measured is what an engine needed and got.
type measured struct {
	cpu  time.Duration
	got  int
	rate float64
}

// BenchmarkCapture sends small packets out of an interface at a rate and lets
// three engines see them, one after the other: our capture up to the batches at
// the door, tcpdump -w /dev/null, and a floor, the same ring read without keeping
// anything. It reports CPU per packet, our ratios to the others, and each loss.
// CPU is the engine's own; the kernel's work in the sender's context is none's.
func BenchmarkCapture(b *testing.B) {
	h := openHost(b)
	h.tick = time.Hour // the reading of the world is another benchmark's
	w := smallWorld(b, h, "w", nil).(*World)
	if _, err := w.Exec(b.Context(), host.ExecRequest{Node: "host1", Argv: []string{"true"}}); err != nil {
		b.Fatal(err)
	}
	if n := packetSockets(b, w); n != 0 {
		b.Errorf("%d packet sockets while nobody captures", n)
	}
	ns := w.machines[0].NetNS()
	start := tcpdump(b, h, ns, func() float64 { return 0 }).cpu // it parses, loads and ends
	for _, c := range []struct{ rate, count int }{{100_000, 200_000}, {200_000, 300_000}} {
		b.Run(fmt.Sprint(c.rate/1000, "k"), func(b *testing.B) {
			work := func() float64 { return send(b, ns, c.rate, c.count) }
			var ours, theirs, floor measured
			for range b.N {
				ours, floor, theirs = door(b, w, work), bareRing(b, w, ns, work), tcpdump(b, h, ns, work)
			}
			theirs.cpu -= min(theirs.cpu, start)
			each := func(m measured) float64 { return float64(m.cpu.Nanoseconds()) / float64(c.count) }
			b.ReportMetric(0, "ns/op")
			for name, m := range map[string]measured{"ours": ours, "tcpdump": theirs, "floor": floor} {
				b.ReportMetric(each(m), name+"-ns/packet")
				b.ReportMetric(100*(1-float64(m.got)/float64(c.count)), name+"-%lost")
				b.ReportMetric(m.rate/1000, name+"-kpps")
			}
			b.ReportMetric(each(ours)/each(theirs), "of-tcpdump")
			b.ReportMetric(each(ours)/each(floor), "of-floor")
		})
	}
}

// door is our capture, of one namespace.
func door(b *testing.B, w *World, work func() float64) (m measured) {
	b.Helper()
	opening := time.Now()
	c, err := w.Capture(b.Context(), host.CaptureRequest{Node: "host1"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(opening).Microseconds())/1000, "open-ms")
	read := make(chan int)
	go func() {
		n := 0
		for {
			batch, err := c.Next(context.Background())
			if err != nil {
				read <- n
				return
			}
			n += len(batch.Records)
			batch.Release()
			if batch.Host+batch.Kernel > 0 {
				b.ReportMetric(float64(batch.Host), "dropped-host")
				b.ReportMetric(float64(batch.Kernel), "dropped-kernel")
			}
		}
	}()
	before := spent(b)
	m.rate = work()
	closing := time.Now()
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(closing).Microseconds())/1000, "close-ms")
	m.got = <-read
	m.cpu = spent(b) - before
	return m
}

// bareRing only looks at each packet's first byte.
func bareRing(b *testing.B, w *World, ns int, work func() float64) (m measured) {
	b.Helper()
	request, err := host.CaptureRequest{}.Normal()
	if err != nil {
		b.Fatal(err)
	}
	var r *ring
	if err := w.host.home.inside(ns, func() (err error) {
		r, err = openRing(request)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	read := make(chan int)
	go func() {
		n, sum := 0, byte(0)
		see := func(p *caught) { n, sum = n+1, sum+p.data[0] }
		for waiting := error(nil); waiting == nil; {
			waiting = r.wait()
			for block, ok := r.ready(); ok; block, ok = r.ready() {
				block.each(see)
				r.give(block)
			}
		}
		r.stop().each(see)
		read <- n
		_ = sum
	}()
	before := spent(b)
	m.rate = work()
	r.interrupt()
	m.got = <-read
	m.cpu = spent(b) - before
	if err := r.close(); err != nil {
		b.Fatal(err)
	}
	return m
}

var tcpdumpCaptured = regexp.MustCompile(`(\d+) packets? captured`)

// tcpdump captures as much of each packet as we do.
func tcpdump(b *testing.B, h *Host, ns int, work func() float64) (m measured) {
	b.Helper()
	path, err := exec.LookPath("tcpdump")
	if err != nil {
		b.Skip("there is no tcpdump")
	}
	cmd := exec.Command(path, "-i", "eth0", "-n", "-s", strconv.Itoa(host.DefaultSnap), "-Z", "root", "-w", "/dev/null")
	words, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := h.home.inside(ns, cmd.Start); err != nil {
		b.Fatal(err)
	}
	said := bufio.NewScanner(words)
	for said.Scan() && !bytes.Contains(said.Bytes(), []byte("listening on")) {
	}
	m.rate = work()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		b.Fatal(err)
	}
	for said.Scan() {
		if found := tcpdumpCaptured.FindSubmatch(said.Bytes()); found != nil {
			m.got = digits(string(found[1]))
		}
	}
	_, _ = io.Copy(io.Discard, words) // nothing is left, or Wait says so
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	m.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return m
}
