package jail

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// The services of a machine that plays the internet: a name server that knows
// example.test, and a web server that tells which address was asked by whom.
// Both are as small as can be: this process counts against the world's memory.

const zone = "example.test."

var zoneAddress = netip.MustParseAddr("203.0.113.80").As4()

// internet is an entry, started by the shim. Its argument is the descriptor to
// complain to; when that closes, the services are there.
func internet() error {
	if len(os.Args) != 2 {
		return errors.New("is not for direct use")
	}
	fd, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return err
	}
	complaints := os.NewFile(uintptr(fd), "complaints")
	names, err := net.ListenUDP("udp", &net.UDPAddr{Port: 53})
	var web net.Listener
	if err == nil {
		web, err = net.Listen("tcp", ":80")
	}
	if err != nil {
		fmt.Fprintln(complaints, err)
		return err
	}
	complaints.Close()
	ended := make(chan error)
	go func() { ended <- serveNames(names) }()
	go func() { ended <- serveWeb(web) }()
	return <-ended
}

// serveNames answers from the address that was asked, which is not always the
// one that the kernel would choose.
func serveNames(c *net.UDPConn) error {
	raw, err := c.SyscallConn() // of both families: IPv4 comes as mapped addresses
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}); err != nil || failed != nil {
		return errors.Join(err, failed)
	}
	query, control := make([]byte, 1500), make([]byte, 128)
	for {
		n, controlled, _, from, err := c.ReadMsgUDPAddrPort(query, control)
		if err != nil {
			return err
		}
		answer, err := answerName(query[:n])
		if err != nil {
			continue // what can't be read isn't answered
		}
		_, _, _ = c.WriteMsgUDPAddrPort(answer, control[:controlled], from) // the kernel's own words go back: answer from where it was asked; who asked asks again
	}
}

// answerName knows addresses of example.test and of everything below it.
func answerName(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	if head.Response {
		return nil, errors.New("not a question")
	}
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: head.ID, Response: true, Authoritative: true,
			RecursionDesired: head.RecursionDesired, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	name := strings.ToLower(q.Name.String())
	switch {
	case head.OpCode != 0:
		m.RCode = dnsmessage.RCodeNotImplemented
	case name != zone && !strings.HasSuffix(name, "."+zone):
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA && q.Class == dnsmessage.ClassINET:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: zoneAddress},
		}}
	}
	return m.Pack()
}

// webClients bounds how many are served at a time.
const webClients = 64

func serveWeb(l net.Listener) error {
	places := make(chan struct{}, webClients)
	for {
		places <- struct{}{}
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { c.Close(); <-places }()
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			_ = answerWeb(c) // whoever asked can't be told more
		}()
	}
}

// answerWeb reads one request's head and answers in HTTP/1.0.
func answerWeb(c net.Conn) error {
	r := bufio.NewReaderSize(c, 4096)
	first, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	method, _, _ := strings.Cut(string(first), " ")
	for line := first; len(strings.TrimSpace(string(line))) > 0; {
		if line, err = r.ReadSlice('\n'); err != nil {
			return err
		}
	}
	here, there := endpoint(c.LocalAddr()), endpoint(c.RemoteAddr())
	body := fmt.Sprintf("Hello from %s. You are %s, port %d.\n", here.Addr(), there.Addr(), there.Port())
	status := "200 OK"
	if method != "GET" && method != "HEAD" {
		status, body = "405 Method Not Allowed", "Only GET and HEAD.\n"
	}
	_, err = fmt.Fprintf(c, "HTTP/1.0 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n", status, len(body))
	if err == nil && method != "HEAD" {
		_, err = c.Write([]byte(body))
	}
	return err
}

func endpoint(a net.Addr) netip.AddrPort {
	p := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
