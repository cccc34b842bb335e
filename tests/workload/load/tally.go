package main

import (
	"regexp"
	"slices"
	"sync"
	"time"
)

const keptErrors = 20

// Counts is what became of requests. Sent is the sum of the three others.
type Counts struct {
	Sent      int            `json:"sent"`
	OK        int            `json:"ok"`
	Failed    int            `json:"failed"`
	Misrouted int            `json:"misrouted"` // answered, by somebody else
	Names     map[string]int `json:"names"`     // who answered how many
}

// Lap is one line of --follow: what ended since the line before.
type Lap struct {
	Second int `json:"second"` // since the start, rounded down
	Counts
}

// Failure is one request that failed.
type Failure struct {
	At    float64 `json:"at_ms"`   // when it was sent, since the start
	Took  float64 `json:"took_ms"` // until it failed
	Error string  `json:"error"`
}

// Latency is of the requests that are OK.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Summary is what load prints on exit.
type Summary struct {
	Counts
	Connections     int64     `json:"connections"` // opened
	Seconds         float64   `json:"seconds"`
	FailedPerSecond []int     `json:"failed_per_second"` // by the second in which they were sent
	Errors          []Failure `json:"errors"`            // the first 20
	Latency         Latency   `json:"latency_ms"`
}

type tally struct {
	sync.Mutex
	expect    *regexp.Regexp
	start     time.Time
	all, now  Counts
	perSecond []int
	errors    []Failure
	latencies []time.Duration
}

func newTally(expect *regexp.Regexp) *tally {
	return &tally{expect: expect, start: time.Now(), all: noCounts(), now: noCounts(), errors: []Failure{}}
}

func noCounts() Counts {
	return Counts{Names: map[string]int{}}
}

func (t *tally) record(begun time.Time, took time.Duration, name string, err error) {
	t.Lock()
	defer t.Unlock()
	misrouted := err == nil && !t.expect.MatchString(name)
	t.all.add(name, misrouted, err)
	t.now.add(name, misrouted, err)
	at := begun.Sub(t.start)
	if missing := int(at.Seconds()) + 1 - len(t.perSecond); missing > 0 {
		t.perSecond = append(t.perSecond, make([]int, missing)...)
	}
	switch {
	case err == nil && !misrouted:
		t.latencies = append(t.latencies, took)
	case err != nil:
		t.perSecond[int(at.Seconds())]++
		if len(t.errors) < keptErrors {
			t.errors = append(t.errors, Failure{milliseconds(at), milliseconds(took), err.Error()})
		}
	}
}

func (c *Counts) add(name string, misrouted bool, err error) {
	c.Sent++
	switch {
	case err != nil:
		c.Failed++
		return
	case misrouted:
		c.Misrouted++
	default:
		c.OK++
	}
	c.Names[name]++
}

func (t *tally) lap() Lap {
	t.Lock()
	defer t.Unlock()
	counts := t.now
	t.now = noCounts()
	return Lap{int(time.Since(t.start).Seconds()), counts}
}

func (t *tally) summary(connections int64) Summary {
	t.Lock()
	defer t.Unlock()
	return Summary{t.all, connections, time.Since(t.start).Seconds(), t.perSecond, t.errors, latency(t.latencies)}
}

func latency(all []time.Duration) Latency {
	if len(all) == 0 {
		return Latency{}
	}
	slices.Sort(all)
	at := func(share float64) float64 { return milliseconds(all[int(share*float64(len(all)-1))]) }
	return Latency{at(0.5), at(0.99), at(1)}
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
