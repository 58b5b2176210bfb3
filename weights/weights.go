// Package weights opens bundles: folders in the diffusers layout that hold a network, its noise schedule and its labels.
// [Open] checks a bundle whole, the network's file included, before anything is loaded: what it returns can be served as
// far as files can tell. [Find] lists the bundles of a folder.
package weights

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files of a bundle, by their paths in it.
const (
	indexFile     = "model_index.json" // optional
	networkFile   = "unet/config.json"
	schedulerFile = "scheduler/scheduler_config.json"
	graphFile     = "unet/model.onnx"
)

// A Bundle is what the files of a bundle say, with the values that diffusers implies where they are silent.
type Bundle struct {
	Name          string     // the folder's base name
	Dir           string     // the folder, as it was given to Open
	Checksum      string     // 64 hex digits, see Open
	Class         string     // the pipeline's _class_name, "" when the bundle names none
	Channels      int        // of the picture: 1, 3 or 4
	Height, Width int        // of the picture that the network was trained on, in pixels
	Labels        []string   // the classes by index, less the null label; nil when the network is unconditional
	NullLabel     int        // the index of the null label, always len(Labels); -1 when there is none
	ValueRange    [2]float64 // what a pixel's darkest and brightest values are to the network, [-1, 1] if not said
	Defaults      Defaults
	Scheduler     Scheduler
	Graph         Graph

	// The network gives twice the picture's channels: behind its prediction, how far up the range of a step's variances the
	// right one lies. The scheduler's VarianceType is learned_range exactly where it does.
	LearnedVariance bool
}

// Defaults are the settings of a request that says nothing. Whether the service has the sampler isn't checked here.
// Steps that are not said are 1000 for ddpm, 4 for lcm and tcd, and 50 for others, where there are as many.
type Defaults struct {
	Sampler         string  // the scheduler's own if not said
	StepsImplied    bool    // Steps is not said in the bundle
	Steps           int     // 1 to 1000 and at most TrainTimesteps, or OriginalSteps for lcm and tcd
	GuidanceScale   float64 // 0 to 30; 1, no guidance, if not said or without a null label
	GuidanceRescale float64 // 0 to 1; 0 if not said or without a null label
}

// Open reads and checks the bundle in dir. An error names the first file found at fault, from the folder's name on, and
// the reason; for a file that is missing it wraps fs.ErrNotExist.
//
// The checksum is that of the files that decide a picture: model_index.json if there is one, the two configs, the graph
// and its external data. It is what
//
//	sha256sum FILES | sha256sum
//
// prints in the folder, with the files' paths in byte order. The model card doesn't count, since correcting a sentence
// changes no picture; nor do safetensors, which the network was exported from but which are never read.
func Open(dir string) (*Bundle, error) {
	files, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	b := &Bundle{Name: files.name, Dir: dir}
	net, err := files.readNetwork()
	if err != nil {
		return nil, err
	}
	b.Channels, b.Height, b.Width = net.channels, net.height, net.width
	if b.Scheduler, err = files.readScheduler(net); err != nil {
		return nil, err
	}
	b.LearnedVariance = b.Scheduler.VarianceType == "learned_range"
	if err := files.readIndex(b, net.classes); err != nil {
		return nil, err
	}
	if b.Graph, err = files.readGraph(net); err != nil {
		return nil, err
	}
	b.Checksum = files.checksum()
	return b, nil
}

// Find lists the bundles directly below dir, as paths that begin with dir, sorted by name. A folder counts as a bundle
// when it has one of a bundle's files, so that a broken one is found, and refused by Open, and not passed over.
func Find(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, reason(err))
	}
	var found []string
	for _, entry := range entries {
		if path := filepath.Join(dir, entry.Name()); isBundle(path) {
			found = append(found, path)
		}
	}
	return found, nil
}

func isBundle(dir string) bool {
	for _, file := range []string{indexFile, networkFile, schedulerFile, graphFile} {
		if _, err := os.Lstat(filepath.Join(dir, file)); err == nil || errors.Is(err, fs.ErrPermission) {
			return true
		}
	}
	return false
}

// reason is the cause of a file system's error without the path, which messages name in their own way.
func reason(err error) error {
	if e, ok := err.(*fs.PathError); ok {
		return e.Err
	}
	return err
}
