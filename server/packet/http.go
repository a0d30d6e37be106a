package packet

import (
	"bytes"
	"strings"
)

// httpMethods are what a request begins with. Source: RFC 9110, 9; RFC 5789.
var httpMethods = [...]string{"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH "}

// shownHeaders is how many headers of a message are shown.
const shownHeaders = 100

// http is the head of an HTTP/1 message, known by its first line. Where a
// message goes on in another segment there is no telling: that one is TCP.
func (d *walk) http(s span) bool {
	b := d.of(s)
	if len(b) < 4 || b[0] < 'A' || b[0] > 'Z' {
		return false
	}
	response := bytes.HasPrefix(b, []byte("HTTP/1."))
	request := false
	for _, m := range httpMethods {
		request = request || bytes.HasPrefix(b, []byte(m))
	}
	if !request && !response {
		return false
	}
	line, _, ended := bytes.Cut(b, []byte("\r\n"))
	if request && ended && !bytes.Contains(line, []byte(" HTTP/1.")) {
		return false
	}
	d.line("HTTP", clip(printable(line), 200))
	kind := ""
	var n node
	if d.tree {
		head := bytes.Index(b, []byte("\r\n\r\n"))
		size := len(b)
		if head >= 0 {
			size = head + 4
		}
		n = d.open("HTTP", s, size)
		n.summary(clip(printable(line), 120))
		name := "Request line"
		if response {
			name = "Status line"
		}
		n.add(name, s.off, len(line), printable(line))
	}
	rest := s.from(len(line) + 2)
	for range shownHeaders {
		if rest.off >= rest.end {
			break
		}
		header, _, ended := bytes.Cut(d.of(rest), []byte("\r\n"))
		if len(header) == 0 {
			rest = rest.from(2)
			d.payload(rest)
			break
		}
		name, value, ok := bytes.Cut(header, []byte(":"))
		ok = ok && len(name) > 0
		if ok && response && strings.EqualFold(string(name), "Content-Type") {
			kind = clip(printable(bytes.TrimSpace(value)), 60)
		}
		if d.tree && ok {
			n.add(clip(printable(name), 60), rest.off, len(header), clip(printable(bytes.TrimSpace(value)), 300))
		}
		if !ended {
			break
		}
		rest = rest.from(len(header) + 2)
	}
	d.say(bracket(kind))
	return true
}
