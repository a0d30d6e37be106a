package kernel

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

const (
	attemptTimeout = time.Second // of one packet and its answer
	maxAttempts    = 10
	maxHops        = 30
	defaultHops    = 10
	defaultPayload = 56
	maxPayload     = 65507
	// resolver is who answers names inside every world.
	resolver = "8.8.8.8"
	// tracePort is where traceroute's datagrams go, one port up per hop.
	tracePort = 33434
)

// Probe implements host.World. All its sockets are made inside the namespace.
func (w *World) Probe(ctx context.Context, p topo.Probe) (topo.ProbeResult, error) {
	ctx, leave, err := w.enter(ctx)
	if err != nil {
		return topo.ProbeResult{}, err
	}
	defer leave()
	attempt, err := prepare(p)
	if err != nil {
		return topo.ProbeResult{}, err
	}
	ns, err := w.open(p.From)
	if err != nil {
		return topo.ProbeResult{}, host.Errorf(host.CodeInvalid, "probe from %s: %w", p.From, err)
	}
	defer ns.close()
	if err := w.captures.covered(ctx); err != nil {
		return topo.ProbeResult{}, w.unlessGone(err)
	}
	at := &prober{home: w.host.home, netns: ns.fd, probe: p}
	res := topo.ProbeResult{Probe: p, At: time.Now()}
	if p.Kind == topo.ProbeTraceroute {
		at.trace(ctx, &res)
		return res, w.unlessGone(ctx.Err())
	}
	var times []time.Duration
	for range cmp.Or(p.Count, 1) {
		res.Sent++
		rtt, detail, err := at.bounded(ctx, attempt)
		if ctx.Err() != nil {
			return topo.ProbeResult{}, w.unlessGone(ctx.Err())
		}
		if err == nil {
			times = append(times, rtt)
		} else {
			res.Reason = reason(err)
		}
		if detail != nil {
			res.Detail = detail
		}
	}
	res.Received = len(times)
	if res.OK = len(times) > 0; res.OK {
		slices.Sort(times)
		res.RTTms, res.Reason = float64(times[len(times)/2].Nanoseconds())/1e6, ""
	}
	return res, nil
}

// prober sends from one namespace.
type prober struct {
	home  home
	netns int
	probe topo.Probe
}

// attempt is one packet or request; a failure is a *failure or a system error.
type attempt func(context.Context, *prober) (rtt time.Duration, detail []string, err error)

// failure is a probe's failure whose reason is known.
type failure struct{ reason topo.Reason }

func (f *failure) Error() string { return string(f.reason) }

func reason(err error) topo.Reason {
	var f *failure
	if errors.As(err, &f) {
		return f.reason
	}
	for errno, r := range map[unix.Errno]topo.Reason{
		unix.ENETUNREACH: topo.ReasonNetUnreachable, unix.ENETDOWN: topo.ReasonNetUnreachable,
		unix.EADDRNOTAVAIL: topo.ReasonNetUnreachable, unix.EINVAL: topo.ReasonNetUnreachable, // no source address; a blackhole route
		unix.EHOSTUNREACH: topo.ReasonHostUnreachable, unix.EHOSTDOWN: topo.ReasonHostUnreachable,
		unix.ECONNREFUSED: topo.ReasonRefused, unix.ECONNRESET: topo.ReasonRefused,
		unix.EMSGSIZE: topo.ReasonTooBig, unix.EPERM: topo.ReasonProhibited, unix.EACCES: topo.ReasonProhibited,
	} {
		if errors.Is(err, errno) {
			return r
		}
	}
	return topo.ReasonTimeout
}

// bounded makes one attempt in its time.
func (at *prober) bounded(ctx context.Context, try attempt) (time.Duration, []string, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return try(ctx, at)
}

// prepare checks a probe and makes its attempt.
func prepare(p topo.Probe) (attempt, error) {
	invalid := func(what string) (attempt, error) {
		return nil, host.Errorf(host.CodeInvalid, "%q is no %s for a %s probe", p.To, what, p.Kind)
	}
	most := maxAttempts
	if p.Kind == topo.ProbeTraceroute {
		most = maxHops
	}
	if p.Count < 0 || p.Count > most || p.Size < 0 || p.Size > maxPayload {
		return nil, host.Errorf(host.CodeInvalid, "a %s probe has 1 to %d packets of at most %d bytes", p.Kind, most, maxPayload)
	}
	switch p.Kind {
	case topo.ProbePing, topo.ProbeTraceroute:
		to, err := netip.ParseAddr(p.To)
		if err != nil || to.Zone() != "" {
			return invalid("address")
		}
		return func(ctx context.Context, at *prober) (time.Duration, []string, error) {
			return at.ping(ctx, to.Unmap())
		}, nil
	case topo.ProbeTCP, topo.ProbeUDP:
		to, err := netip.ParseAddrPort(p.To)
		if err != nil || to.Port() == 0 || to.Addr().Zone() != "" {
			return invalid("address:port")
		}
		to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
		if p.Kind == topo.ProbeUDP {
			return func(ctx context.Context, at *prober) (time.Duration, []string, error) { return at.udp(ctx, to) }, nil
		}
		return func(ctx context.Context, at *prober) (time.Duration, []string, error) { return at.tcp(ctx, to) }, nil
	case topo.ProbeHTTP:
		u, err := url.Parse(p.To)
		if err != nil || u.Scheme != "http" || u.Hostname() == "" {
			return invalid("URL")
		}
		if _, err := netip.ParseAddr(u.Hostname()); err != nil {
			if _, err := domainName(u.Hostname()); err != nil {
				return invalid("URL")
			}
		}
		return func(ctx context.Context, at *prober) (time.Duration, []string, error) { return at.http(ctx, u) }, nil
	case topo.ProbeDNS:
		name, server, given := strings.Cut(p.To, "@")
		if !given {
			server = resolver
		}
		to, err := netip.ParseAddr(server)
		question, nameErr := domainName(name)
		if err != nil || nameErr != nil || to.Zone() != "" {
			return invalid("name@server")
		}
		return func(ctx context.Context, at *prober) (time.Duration, []string, error) {
			return at.dns(ctx, question, to.Unmap())
		}, nil
	}
	return nil, host.Errorf(host.CodeInvalid, "%q is no kind of probe", p.Kind)
}

// socket makes a socket in the namespace and connects it; the file has
// deadlines, and ctx ends whatever waits for it.
func (at *prober) socket(ctx context.Context, kind, protocol int, to netip.AddrPort) (f *os.File, done func(), err error) {
	domain := int(family(to.Addr()))
	var sa unix.Sockaddr
	if domain == unix.AF_INET {
		sa = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	} else {
		sa = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	var fd int
	err = at.home.inside(at.netns, func() error {
		fd, err = unix.Socket(domain, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("open socket: %w", err)
	}
	if kind != unix.SOCK_STREAM {
		level, hear := unix.IPPROTO_IP, unix.IP_RECVERR
		if domain == unix.AF_INET6 {
			level, hear = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
		}
		err = unix.SetsockoptInt(fd, level, hear, 1)
	}
	if err == nil {
		if err = unix.Connect(fd, sa); err == unix.EINPROGRESS {
			err = nil
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, nil, fmt.Errorf("connect to %s: %w", to, err)
	}
	f = os.NewFile(uintptr(fd), "probe")
	if deadline, ok := ctx.Deadline(); ok {
		_ = f.SetDeadline(deadline) // a socket always has one
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })
	return f, func() { stop(); f.Close() }, nil
}

// receive waits for a datagram or an ICMP error about what was sent; accept says
// whether it is ours. sent is the quoted packet of an error.
func receive(f *os.File, accept func(data []byte, icmp *icmpError) bool) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	buf, oob := make([]byte, 65536), make([]byte, 512)
	err = rc.Read(func(fd uintptr) bool {
		for {
			n, _, _, _, err := unix.Recvmsg(int(fd), buf, oob, unix.MSG_DONTWAIT)
			if err == nil {
				if accept(buf[:n], nil) {
					return true
				}
				continue
			}
			if err != unix.EAGAIN {
				failed = err // the queue may say more
			}
			n, oobn, _, _, qerr := unix.Recvmsg(int(fd), buf, oob, unix.MSG_DONTWAIT|unix.MSG_ERRQUEUE)
			if qerr != nil {
				return failed != nil
			}
			failed = nil
			if e := parseICMPError(oob[:oobn]); e != nil && accept(buf[:n], e) {
				failed = e
				return true
			}
		}
	})
	return cmp.Or(err, failed)
}

// icmpError is an entry of a socket's error queue, from the net or from our own kernel.
type icmpError struct {
	errno      unix.Errno
	origin     uint8
	kind, code uint8
	from       netip.Addr
}

func (e *icmpError) Error() string { return e.errno.Error() }

// Unwrap gives the reason where ICMP is plainer than the errno.
func (e *icmpError) Unwrap() error {
	var r topo.Reason
	switch {
	case e.origin == unix.SO_EE_ORIGIN_ICMP && e.kind == 3:
		r = map[uint8]topo.Reason{0: topo.ReasonNetUnreachable, 1: topo.ReasonHostUnreachable, 2: topo.ReasonPortUnreachable,
			3: topo.ReasonPortUnreachable, 4: topo.ReasonTooBig, 9: topo.ReasonProhibited, 10: topo.ReasonProhibited, 13: topo.ReasonProhibited}[e.code]
	case e.origin == unix.SO_EE_ORIGIN_ICMP && e.kind == 11, e.origin == unix.SO_EE_ORIGIN_ICMP6 && e.kind == 3:
		r = topo.ReasonTTL
	case e.origin == unix.SO_EE_ORIGIN_ICMP6 && e.kind == 1:
		r = map[uint8]topo.Reason{0: topo.ReasonNetUnreachable, 1: topo.ReasonProhibited, 3: topo.ReasonHostUnreachable, 4: topo.ReasonPortUnreachable}[e.code]
	}
	if r != "" {
		return &failure{r}
	}
	return e.errno
}

// parseICMPError reads the control message: sock_extended_err and who sent it.
func parseICMPError(oob []byte) *icmpError {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range msgs {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !v4 && !v6 || len(m.Data) < 16 {
			continue
		}
		e := &icmpError{errno: unix.Errno(u32(m.Data)), origin: m.Data[4], kind: m.Data[5], code: m.Data[6]}
		switch offender := m.Data[16:]; { // a sockaddr
		case v4 && len(offender) >= 8:
			e.from = address(offender[4:8])
		case v6 && len(offender) >= 24:
			e.from = address(offender[8:24])
		}
		return e
	}
	return nil
}

// ping sends one echo request and waits for its reply.
func (at *prober) ping(ctx context.Context, to netip.Addr) (time.Duration, []string, error) {
	protocol, ask, answer := unix.IPPROTO_ICMP, byte(8), byte(0)
	if to.Is6() {
		protocol, ask, answer = unix.IPPROTO_ICMPV6, 128, 129
	}
	f, done, err := at.socket(ctx, unix.SOCK_RAW, protocol, netip.AddrPortFrom(to, 0))
	if err != nil {
		return 0, nil, err
	}
	defer done()
	if at.probe.DontFragment {
		if err := forbidFragments(f, to.Is6()); err != nil {
			return 0, nil, err
		}
	}
	echo := make([]byte, 8+cmp.Or(at.probe.Size, defaultPayload))
	echo[0] = ask
	id := rand.Uint32() // identifier and sequence number in one: what comes back is ours or not
	binary.BigEndian.PutUint32(echo[4:], id)
	if to.Is4() {
		binary.BigEndian.PutUint16(echo[2:], checksum(echo))
	}
	began := time.Now()
	if _, err := f.Write(echo); err != nil {
		return 0, nil, err
	}
	var from netip.Addr
	err = receive(f, func(b []byte, e *icmpError) bool {
		want := answer
		if e != nil {
			from = e.from
			if e.origin == unix.SO_EE_ORIGIN_LOCAL {
				return true
			}
			want = ask
		} else if to.Is4() && len(b) > 0 { // a raw socket shows the IP header
			b = b[min(len(b), int(b[0]&15)*4):]
		}
		return len(b) >= 8 && b[0] == want && binary.BigEndian.Uint32(b[4:]) == id
	})
	rtt := time.Since(began)
	if err != nil {
		err = at.silence(err, to)
		if from.IsValid() && !from.IsUnspecified() {
			return 0, []string{from.String()}, err
		}
	}
	return rtt, nil, err
}

func forbidFragments(f *os.File, v6 bool) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = rc.Control(func(fd uintptr) {
		if v6 {
			failed = cmp.Or(unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1))
			return
		}
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	})
	return cmp.Or(err, failed)
}

// checksum is RFC 1071's.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// silence explains a time-out: where the next hop does not answer ARP or NDP the
// kernel itself would say "host unreachable" two seconds later.
func (at *prober) silence(err error, to netip.Addr) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	c, dialErr := at.home.dial(at.netns, unix.NETLINK_ROUTE, make([]byte, 8192))
	if dialErr != nil {
		return err
	}
	defer c.close()
	hop, dev := to, uint32(0)
	msg := &nl.RtMsg{}
	msg.Family, msg.Dst_len = family(to), uint8(to.BitLen())
	_, routeErr := c.exchange(request(unix.RTM_GETROUTE, 0, msg, attrAddr(unix.RTA_DST, to)), func(_ uint16, b []byte) error {
		attributes(b[min(len(b), unix.SizeofRtMsg):], func(t uint16, v []byte) {
			switch t {
			case unix.RTA_GATEWAY:
				hop = address(v)
			case unix.RTA_OIF:
				dev = u32(v)
			}
		})
		return nil
	})
	if routeErr != nil {
		return err
	}
	var state uint16
	_, neighErr := c.exchange(request(unix.RTM_GETNEIGH, 0, &netlink.Ndmsg{Family: family(hop), Index: dev}, attrAddr(unix.NDA_DST, hop)), func(_ uint16, b []byte) error {
		if n, ok := neighMessage(b); ok {
			state = n.state
		}
		return nil
	})
	if neighErr == nil && state&(unix.NUD_INCOMPLETE|unix.NUD_FAILED) != 0 {
		return &failure{topo.ReasonHostUnreachable}
	}
	return err
}

// tcp connects once.
func (at *prober) tcp(ctx context.Context, to netip.AddrPort) (time.Duration, []string, error) {
	began := time.Now()
	_, done, err := at.connect(ctx, to)
	if err != nil {
		return 0, nil, err
	}
	defer done()
	return time.Since(began), nil, nil
}

// connect makes a TCP connection.
func (at *prober) connect(ctx context.Context, to netip.AddrPort) (f *os.File, done func(), err error) {
	f, done, err = at.socket(ctx, unix.SOCK_STREAM, unix.IPPROTO_TCP, to)
	if err != nil {
		return nil, nil, err
	}
	rc, err := f.SyscallConn()
	if err == nil {
		var failed error
		err = rc.Write(func(fd uintptr) bool {
			if code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
				failed = cmp.Or(err, error(unix.Errno(code)))
				return true
			}
			_, err := unix.Getpeername(int(fd)) // only a connected socket has one
			return err == nil
		})
		err = cmp.Or(err, failed)
	}
	if err != nil {
		done()
		return nil, nil, at.silence(err, to.Addr())
	}
	return f, done, nil
}

// udp sends one datagram and takes any answer.
func (at *prober) udp(ctx context.Context, to netip.AddrPort) (time.Duration, []string, error) {
	began := time.Now()
	_, err := at.ask(ctx, to, []byte("kabel\n"))
	return time.Since(began), nil, err
}

// ask sends a datagram and returns the answer.
func (at *prober) ask(ctx context.Context, to netip.AddrPort, question []byte) (answer []byte, err error) {
	f, done, err := at.socket(ctx, unix.SOCK_DGRAM, unix.IPPROTO_UDP, to)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := f.Write(question); err != nil {
		return nil, err
	}
	err = receive(f, func(b []byte, e *icmpError) bool {
		answer = slices.Clone(b)
		return true
	})
	if errors.Is(err, unix.ECONNREFUSED) {
		err = &failure{topo.ReasonPortUnreachable}
	}
	return answer, at.silence(err, to.Addr())
}

// http gets a URL; a name is looked up inside the world.
func (at *prober) http(ctx context.Context, u *url.URL) (time.Duration, []string, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return at.dial(ctx, addr)
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, nil, err
	}
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, badUnlessKnown(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return 0, nil, badUnlessKnown(err)
	}
	detail := []string{resp.Status}
	if resp.StatusCode >= http.StatusBadRequest {
		return 0, detail, &failure{topo.ReasonBadAnswer}
	}
	return time.Since(began), detail, nil
}

// badUnlessKnown calls what is neither a time-out nor a system error a bad answer.
func badUnlessKnown(err error) error {
	var f *failure
	var errno unix.Errno
	var late interface{ Timeout() bool }
	if errors.As(err, &f) || errors.As(err, &errno) || errors.As(err, &late) && late.Timeout() {
		return err
	}
	return &failure{topo.ReasonBadAnswer}
}

// dial connects to a URL's host and port from inside.
func (at *prober) dial(ctx context.Context, hostport string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	addr, err := netip.ParseAddr(name)
	if err != nil {
		question, err := domainName(name)
		if err != nil {
			return nil, err
		}
		found, err := at.lookup(ctx, question, netip.MustParseAddr(resolver))
		if err != nil {
			return nil, err
		}
		addr = found[0]
	}
	to, err := netip.ParseAddrPort(net.JoinHostPort(addr.Unmap().String(), port))
	if err != nil {
		return nil, err
	}
	f, done, err := at.connect(ctx, to)
	if err != nil {
		return nil, err
	}
	defer done() // FileConn has a descriptor of its own
	return net.FileConn(f)
}

// domainName checks a name and makes it absolute. What looks like a number or
// an address is none.
func domainName(name string) (dnsmessage.Name, error) {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.ContainsFunc(l, notInSysctl) {
			return dnsmessage.Name{}, fmt.Errorf("%q is no domain name", name)
		}
	}
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return dnsmessage.Name{}, fmt.Errorf("%q is no domain name", name)
	}
	return dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
}

// dns looks a name up.
func (at *prober) dns(ctx context.Context, name dnsmessage.Name, server netip.Addr) (time.Duration, []string, error) {
	began := time.Now()
	found, err := at.lookup(ctx, name, server)
	if err != nil {
		return 0, nil, err
	}
	var detail []string
	for _, a := range found {
		detail = append(detail, a.String())
	}
	return time.Since(began), detail, nil
}

// lookup asks a server for the IPv4 addresses of a name; there is at least one
// or an error.
func (at *prober) lookup(ctx context.Context, name dnsmessage.Name, server netip.Addr) ([]netip.Addr, error) {
	question := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: uint16(rand.Uint32()), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packed, err := question.Pack()
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", name, err)
	}
	got, err := at.ask(ctx, netip.AddrPortFrom(server, 53), packed)
	if err != nil {
		return nil, err
	}
	var answer dnsmessage.Message
	if err := answer.Unpack(got); err != nil || !answer.Response || answer.ID != question.ID {
		return nil, &failure{topo.ReasonBadAnswer}
	}
	var found []netip.Addr
	for _, r := range answer.Answers {
		if a, ok := r.Body.(*dnsmessage.AResource); ok {
			found = append(found, netip.AddrFrom4(a.A))
		}
	}
	switch {
	case answer.RCode != dnsmessage.RCodeSuccess && answer.RCode != dnsmessage.RCodeNameError:
		return nil, &failure{topo.ReasonBadAnswer}
	case len(found) == 0:
		return nil, &failure{topo.ReasonNoName}
	}
	return found, nil
}

// trace sends datagrams with rising TTL until the target says that nobody
// listens there. Detail has one entry per hop, "*" for one that kept silent.
func (at *prober) trace(ctx context.Context, res *topo.ProbeResult) {
	to := netip.MustParseAddr(at.probe.To).Unmap()
	for ttl := 1; ttl <= cmp.Or(at.probe.Count, defaultHops) && ctx.Err() == nil; ttl++ {
		res.Sent++
		began := time.Now()
		from, err := at.hop(ctx, to, ttl)
		res.Reason = reason(err)
		if !from.IsValid() {
			res.Detail = append(res.Detail, "*")
			if res.Reason != topo.ReasonTimeout {
				return // it never left
			}
			continue
		}
		res.Received++
		res.Detail = append(res.Detail, from.String())
		if res.Reason == topo.ReasonPortUnreachable && from == to {
			res.OK, res.Reason = true, ""
			res.RTTms = float64(time.Since(began).Nanoseconds()) / 1e6
		}
		if res.Reason != topo.ReasonTTL {
			return
		}
	}
}

// hop sends one datagram and tells who complained and how.
func (at *prober) hop(ctx context.Context, to netip.Addr, ttl int) (from netip.Addr, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	f, done, err := at.socket(ctx, unix.SOCK_DGRAM, unix.IPPROTO_UDP, netip.AddrPortFrom(to, uint16(tracePort+ttl)))
	if err != nil {
		return from, err
	}
	defer done()
	rc, err := f.SyscallConn()
	if err != nil {
		return from, err
	}
	var failed error
	err = rc.Control(func(fd uintptr) {
		if to.Is6() {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl)
			return
		}
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, ttl)
	})
	if err := cmp.Or(err, failed); err != nil {
		return from, err
	}
	if _, err := f.Write([]byte("kabel\n")); err != nil {
		return from, err
	}
	err = receive(f, func(_ []byte, e *icmpError) bool {
		if e != nil {
			from = e.from
		} else {
			from = to // somebody does listen there, and answered
		}
		return true
	})
	if err == nil {
		return from, &failure{topo.ReasonPortUnreachable}
	}
	return from, at.silence(err, to)
}
