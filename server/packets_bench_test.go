//lint:file-ignore SA1019 the library of choice; see httpapi/stream.go

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"nhooyr.io/websocket"

	"kabel/labs"
	"kabel/server/capture"
)

// bridged is a session whose Model 2 stands, in a server for benchmarks.
type bridged struct {
	b         *testing.B
	srv       *httptest.Server
	path, key string
}

func newBridged(b *testing.B) *bridged {
	b.Helper()
	catalog, err := labs.BuiltIn()
	if err != nil {
		b.Fatal(err)
	}
	_, srv := serveForBench(b, catalog)
	s := &bridged{b: b, srv: srv}
	created := s.post("/api/v1/sessions", map[string]any{"lab": "one-host-bridge"})
	s.path, s.key = "/api/v1/sessions/"+created["id"].(string), created["token"].(string)
	for _, c := range modelTwo {
		for _, command := range c {
			s.post(s.path+"/ops", map[string]any{"node": "host1", "command": command})
		}
	}
	s.post(s.path+"/exec", map[string]any{"node": "host1", "argv": []string{"iptables", "-P", "FORWARD", "ACCEPT"}})
	return s
}

func (s *bridged) post(path string, in any) map[string]any {
	s.b.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		s.b.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.b.Context(), "POST", s.srv.URL+path, bytes.NewReader(body))
	if err != nil {
		s.b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := s.srv.Client().Do(req)
	if err != nil {
		s.b.Fatal(err)
	}
	defer res.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		s.b.Fatal(err)
	}
	if res.StatusCode >= 300 {
		s.b.Fatalf("%s: %d %v", path, res.StatusCode, out)
	}
	return out
}

// exec runs a program on a node, beside the benchmark.
func (s *bridged) exec(tasks *sync.WaitGroup, node string, argv ...string) {
	tasks.Go(func() {
		s.post(s.path+"/exec", map[string]any{"node": node, "argv": argv, "timeout_ms": 60000})
	})
}

// look opens a websocket on the session's packets.
func (s *bridged) look() *websocket.Conn {
	s.b.Helper()
	conn, _, err := websocket.Dial(s.b.Context(), s.srv.URL+s.path+"/packets", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + s.key}}})
	if err != nil {
		s.b.Fatal(err)
	}
	conn.SetReadLimit(-1)
	s.b.Cleanup(func() { conn.CloseNow() })
	return conn
}

// packetsMessage is what a viewer of the benchmarks reads.
type packetsMessage struct {
	Type    string        `json:"type"`
	Started time.Time     `json:"started"`
	Rows    []capture.Row `json:"rows"`
	Gap     int           `json:"gap"`
	Lost    capture.Lost  `json:"lost"`
}

// BenchmarkWireToWebsocket measures how long a packet is under way from the
// kernel's time stamp, of the last place that saw it, to a websocket client, while
// few packets pass and while many do. It takes some 15 seconds.
func BenchmarkWireToWebsocket(b *testing.B) {
	s := newBridged(b)
	for _, traffic := range []struct {
		name string
		argv []string
	}{
		// A ping is seen eight times on its way and back, a datagram four times.
		{"100-records-a-second", []string{"ping", "-q", "-i", "0.08", "-w", "6", "172.16.0.3"}},
		{"40k-records-a-second", []string{"iperf3", "-c", "172.16.0.3", "-u", "-l", "64", "-b", "5120000", "-t", "5"}},
	} {
		b.Run(traffic.name, func(b *testing.B) {
			var tasks sync.WaitGroup
			defer tasks.Wait()
			if traffic.argv[0] == "iperf3" {
				s.exec(&tasks, "host1/kon2", "iperf3", "-s", "-1")
			}
			conn := s.look()
			for range b.N {
				s.measure(b, conn, &tasks, traffic.argv)
			}
		})
	}
}

func (s *bridged) measure(b *testing.B, conn *websocket.Conn, tasks *sync.WaitGroup, argv []string) {
	ctx, cancel := context.WithTimeout(b.Context(), 8*time.Second)
	defer cancel()
	s.exec(tasks, "host1/kon1", argv...)
	var started time.Time
	var late []time.Duration
	var lost capture.Lost
	seen := map[uint64]int{}
	gaps := 0
	begun := time.Now()
	for time.Since(begun) < 7*time.Second {
		_, raw, err := conn.Read(ctx)
		now := time.Now()
		if err != nil {
			break
		}
		var m packetsMessage
		if err := json.Unmarshal(raw, &m); err != nil {
			b.Fatal(err)
		}
		if m.Type == "start" {
			started = m.Started
		}
		gaps += m.Gap
		lost = m.Lost
		for _, r := range m.Rows {
			if n := len(r.Sightings); n > seen[r.ID] {
				seen[r.ID] = n
				at := started.Add(time.Duration(float64(r.Sightings[n-1].At) * 1e3))
				if at.After(begun) { // not what was kept from before
					late = append(late, now.Sub(at))
				}
			}
		}
	}
	if len(late) == 0 {
		b.Fatal("no packet came")
	}
	slices.Sort(late)
	sightings := 0
	for _, n := range seen {
		sightings += n
	}
	ms := func(p float64) float64 { return late[int(p*float64(len(late)-1))].Seconds() * 1e3 }
	b.ReportMetric(ms(0.5), "p50-ms")
	b.ReportMetric(ms(0.99), "p99-ms")
	b.ReportMetric(float64(sightings)/time.Since(begun).Seconds(), "shown/s")
	b.ReportMetric(float64(lost.Hub), "left-out")
	b.ReportMetric(float64(lost.Kernel+lost.Host), "lost")
	b.ReportMetric(float64(gaps), "gaps")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkViewers has a thousand viewers of one world's packets, one of whom reads
// nothing, and reports what each got, and what the slow one cost the others: the
// ratio of the rows that they got beside it to those without it.
func BenchmarkViewers(b *testing.B) {
	const viewers = 1000
	for range b.N {
		s := newBridged(b)
		run := func(slow bool) (median, worst, gaps int64, cpu time.Duration) {
			var tasks sync.WaitGroup
			ctx, cancel := context.WithCancel(b.Context())
			rows := make([]atomic.Int64, viewers)
			var missing atomic.Int64
			for i := range viewers {
				conn := s.look()
				if slow && i == 0 {
					continue // it reads nothing
				}
				tasks.Go(func() {
					defer conn.CloseNow()
					for {
						_, raw, err := conn.Read(ctx)
						if err != nil {
							return
						}
						rows[i].Add(int64(bytes.Count(raw, []byte(`"sightings":`))))
						if bytes.Contains(raw, []byte(`"gap":`)) {
							missing.Add(1)
						}
					}
				})
			}
			var traffic sync.WaitGroup
			before := used()
			s.exec(&traffic, "host1/kon2", "iperf3", "-s", "-1")
			s.exec(&traffic, "host1/kon1", "sh", "-c", "sleep 0.5; iperf3 -c 172.16.0.3 -u -l 64 -b 512000 -t 5") // 4,000 records a second
			traffic.Wait()
			cpu = used() - before
			cancel()
			tasks.Wait()
			var all []int64
			for i := range rows {
				if n := rows[i].Load(); n > 0 {
					all = append(all, n)
				}
			}
			slices.Sort(all)
			if len(all) < viewers-1 {
				b.Errorf("only %d of %d viewers got anything", len(all), viewers)
			}
			return all[len(all)/2], all[0], missing.Load(), cpu
		}
		median, worst, gaps, cpu := run(false)
		b.ReportMetric(float64(median), "rows-median")
		b.ReportMetric(float64(worst)/float64(median), "worst:median")
		b.ReportMetric(float64(gaps), "gaps")
		b.ReportMetric(cpu.Seconds()/5.5, "cores")
		beside, _, slowGaps, _ := run(true)
		b.ReportMetric(float64(beside)/float64(median), "beside-slow:without")
		b.ReportMetric(float64(slowGaps), "gaps-beside-slow")
		b.ReportMetric(0, "ns/op")
	}
}

// used is the processor time of this process so far.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprint("getrusage: ", err)) // it can't fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
