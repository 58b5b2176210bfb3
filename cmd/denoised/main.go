// Command denoised serves pretrained diffusion models over HTTP, and draws and denoises pictures without a server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is the build's; the Makefile stamps it.
var version = "dev"

// exitUsage is the exit status of a command line that cannot be understood; what fails otherwise exits with 1.
const exitUsage = 2

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

type commands struct {
	Serve    serveCommand    `cmd:"" help:"Serve the models in a folder over HTTP."`
	Generate generateCommand `cmd:"" help:"Draw an image, for instance: denoised generate --label 7 --seed 1 -o seven.png"`
	Denoise  denoiseCommand  `cmd:"" help:"Remove the noise from an image, for instance: denoised denoise in.png -o out.png"`
	Inspect  inspectCommand  `cmd:"" help:"Check a bundle, load its network and say what it can do."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

// streams is where a command writes.
type streams struct{ out, err io.Writer }

// run is the program: it returns the exit status. It ends early when ctx does.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var cli commands
	status := 0
	parser, err := kong.New(&cli, kong.Name("denoised"), kong.UsageOnError(), kong.Writers(stdout, stderr),
		kong.Description("Serves pretrained diffusion models over HTTP."),
		kong.Exit(func(code int) { status = code; panic(exited{}) }))
	if err != nil {
		fmt.Fprintln(stderr, "denoised:", err)
		return 1
	}
	command, err := parse(parser, args)
	switch {
	case err != nil && errors.Is(err, exited{}):
		return status
	case err != nil:
		fmt.Fprintln(stderr, "denoised:", err)
		fmt.Fprintln(stderr, "denoised: see denoised --help")
		return exitUsage
	}
	command.BindTo(ctx, (*context.Context)(nil))
	if err := command.Run(streams{stdout, stderr}); err != nil {
		fmt.Fprintln(stderr, "denoised:", err)
		return 1
	}
	return 0
}

// exited is how --help, which kong ends the process for, comes back to run.
type exited struct{}

func (exited) Error() string { return "the command line was answered" }

func parse(parser *kong.Kong, args []string) (command *kong.Context, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			done, ok := cause.(exited)
			if !ok {
				panic(cause)
			}
			err = done
		}
	}()
	return parser.Parse(args)
}

type versionCommand struct{}

// Run prints the build's version, the revision it was made from and Go's version.
func (versionCommand) Run(s streams) error {
	revision := "unknown revision"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				revision = setting.Value
			}
		}
	}
	_, err := fmt.Fprintf(s.out, "denoised %s (%s, %s, %s/%s)\n", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
