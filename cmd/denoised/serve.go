package main

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"denoised/api"
	"denoised/inference"
)

type serveCommand struct {
	folder
	Listen    string        `default:"localhost:8080" env:"DENOISED_LISTEN" placeholder:"ADDRESS" help:"Address to listen on."`
	MaxSteps  int           `default:"1000" env:"DENOISED_MAX_STEPS" placeholder:"N" help:"Most steps of one request."`
	MaxCount  int           `default:"64" env:"DENOISED_MAX_COUNT" placeholder:"N" help:"Most images of one request."`
	MaxPixels int           `default:"25165824" env:"DENOISED_MAX_PIXELS" placeholder:"N" help:"Most pixels of one image, sent or drawn."`
	MaxBody   int64         `default:"167772160" env:"DENOISED_MAX_BODY" placeholder:"BYTES" help:"Largest body of one request."`
	Grace     time.Duration `default:"30s" env:"DENOISED_GRACE" help:"How long requests under way may go on after SIGTERM."`
	LogLevel  string        `enum:"debug,info,warn,error" default:"info" env:"DENOISED_LOG_LEVEL" help:"Least severe log lines to write: debug, info, warn or error."`
}

// Validate implements kong's check of the whole configuration, before anything is opened.
func (c serveCommand) Validate() error {
	var faults []error
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		faults = append(faults, fmt.Errorf("--listen: %w", err))
	}
	for _, limit := range []struct {
		flag        string
		value, most int64
	}{
		{"max-steps", int64(c.MaxSteps), 1000}, {"max-count", int64(c.MaxCount), 64},
		{"max-pixels", int64(c.MaxPixels), 1 << 28}, {"max-body", c.MaxBody, 1 << 32},
	} {
		if limit.value < 1 || limit.value > limit.most {
			faults = append(faults, fmt.Errorf("--%s is %d; allowed: 1 to %d", limit.flag, limit.value, limit.most))
		}
	}
	if c.Grace < 0 {
		faults = append(faults, fmt.Errorf("--grace is %v; allowed: 0s or more", c.Grace))
	}
	return errors.Join(faults...)
}

// Run serves until ctx ends, then lets what runs finish within the grace.
func (c serveCommand) Run(ctx context.Context, s streams) error {
	level, err := zerolog.ParseLevel(c.LogLevel)
	if err != nil {
		return err
	}
	log := zerolog.New(s.err).Level(level).With().Timestamp().Logger()
	metrics := api.NewMetrics(version)
	all, err := c.loadAll(metrics)
	if err != nil {
		return err
	}
	defer all.close()
	limits := inference.Limits{Steps: c.MaxSteps, Count: c.MaxCount, Pixels: c.MaxPixels}
	server := api.New(inference.NewPipeline(version, limits, all.models...), metrics, log, c.MaxBody)

	// Listening here rather than in the server makes a taken address an error of the start.
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	announce(log, listener.Addr(), all)
	return serve(ctx, server, listener, c.Grace, log)
}

func announce(log zerolog.Logger, address net.Addr, all *loaded) {
	var names []string
	for _, m := range all.models {
		names = append(names, m.Bundle.Name)
	}
	device, fallback := all.device()
	event := log.Info().Str("version", version).Stringer("address", address).Strs("models", names).Str("device", device).
		Str("runtime", all.models[0].Runtime).Int("threads", runtime.GOMAXPROCS(0))
	if fallback != nil {
		event = event.Str("device_reason", fallback.Error())
	}
	event.Msg("serving")
}

// serve answers requests until ctx ends. Then it refuses new ones, and those under way may go on until the grace is
// over; any left are cut off, and that is an error.
func serve(ctx context.Context, server *api.Server, listener net.Listener, grace time.Duration, log zerolog.Logger) error {
	// The requests outlive ctx by the grace, so they have a context of their own.
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	web := &http.Server{
		Handler:           server,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          stdlog.New(log, "", 0),
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info().Dur("grace_ms", grace).Msg("shutting down")
	server.Drain()
	closing, done := context.WithTimeout(requests, grace)
	defer done()
	if err := web.Shutdown(closing); err != nil {
		cut()
		return errors.Join(fmt.Errorf("the grace of %v is over with requests under way", grace), web.Close())
	}
	log.Info().Msg("stopped")
	return nil
}
