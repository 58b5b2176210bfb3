package inference

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"denoised/inference/diffusion"
)

// Pipeline serves requests with the models it holds.
type Pipeline struct {
	Limits  Limits
	Version string // of the build, written into every picture

	models []*Model
}

// NewPipeline serves the given models; where a request names none, the first that can do the task, and of
// those that change pictures the first in colour.
func NewPipeline(version string, limits Limits, models ...*Model) *Pipeline {
	return &Pipeline{Limits: limits, Version: version, models: models}
}

// Models lists what is served.
func (p *Pipeline) Models() []*Model { return slices.Clone(p.models) }

// Model finds a model by its name. The error lists those that are served.
func (p *Pipeline) Model(name string) (*Model, error) {
	var names []string
	for _, m := range p.models {
		if m.Bundle.Name == name {
			return m, nil
		}
		names = append(names, m.Bundle.Name)
	}
	return nil, &Error{Kind: NotFound, Detail: fmt.Sprintf("no model is called %.80q; served: %s", name, strings.Join(names, ", "))}
}

// does says whether the model is able to do a task.
func (m *Model) does(task string) bool { return slices.Contains(m.Tasks(), task) }

// Timing says where a request's time went. Its images run beside one another, so each figure is the longest of theirs.
type Timing struct {
	Queue   time.Duration // rows waiting for the network
	Network time.Duration // runs of the network that the rows rode in
}

// include widens the timing by a trajectory's.
func (t *Timing) include(s *Seat) {
	t.Queue, t.Network = max(t.Queue, s.Waited), max(t.Network, s.Ran)
}

// Image is a drawn image.
type Image struct {
	Recipe Recipe    // that draws it alone
	Shape  [3]int    // channels, height, width
	Tensor []float32 // in the model's units, as the sampler left it

	model   *Model
	version string
}

// Result is what a request has drawn.
type Result struct {
	Recipe Recipe
	Model  *Model
	Images []Image
	Timing Timing
}

// Generate resolves a request and draws its images.
func (p *Pipeline) Generate(ctx context.Context, req Request) (*Result, error) {
	plan, err := p.Resolve(req)
	if err != nil {
		return nil, err
	}
	return plan.Generate(ctx)
}

// Generate draws the images. When ctx ends, all of their trajectories end at their next step.
func (p *Plan) Generate(ctx context.Context) (*Result, error) {
	result := &Result{Recipe: p.Recipe, Model: p.Model, Images: make([]Image, p.Recipe.Count)}
	seats := make([]*Seat, p.Recipe.Count)
	group, ctx := errgroup.WithContext(ctx)
	for i := range result.Images {
		image := &result.Images[i]
		*image = Image{Recipe: p.Recipe.Single(i), model: p.Model, version: p.version}
		image.Shape = [3]int{p.Model.Bundle.Channels, image.Recipe.Size[0], image.Recipe.Size[1]}
		seats[i] = p.seat(image)
	}
	for i, seat := range seats {
		group.Go(func() error { return p.draw(ctx, &result.Images[i], seat) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, seat := range seats {
		result.Timing.include(seat)
	}
	return result, nil
}

// errNotFinite is a network's fault, or one of ours.
var errNotFinite = errors.New("a sample has values that are not finite")

// finite refuses a sample that is no picture.
func finite(x []float32) error {
	for _, v := range x {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return &Error{Kind: Internal, Detail: "the network's predictions led to no picture", Err: errNotFinite}
		}
	}
	return nil
}

// label is the class index of an image, −1 where it has none.
func (p *Plan) label(image *Image) int {
	if len(image.Recipe.Labels) == 0 {
		return -1
	}
	return p.Model.index(image.Recipe.Labels[0])
}

// seat joins the engine for an image. All images of a request join before the first of them runs, so that the engine
// knows how many to expect.
func (p *Plan) seat(image *Image) *Seat {
	return p.Model.engine.Join(image.Shape, p.Model.rows(p.label(image), image.Recipe.GuidanceScale))
}

// predictor is the network as an image's recipe has it guided.
func (p *Plan) predictor(image *Image, seat *Seat) diffusion.Predictor {
	label, null := p.label(image), p.Model.Bundle.NullLabel
	switch {
	case label < 0:
		return p.Model.unlabelled(seat)
	case null < 0:
		return diffusion.Conditioned(seat.Predict, int64(label))
	}
	return diffusion.Guided(seat.Predict, int64(label), int64(null), image.Recipe.GuidanceScale, image.Recipe.GuidanceRescale)
}

// draw runs one trajectory from noise to an image.
func (p *Plan) draw(ctx context.Context, image *Image, seat *Seat) error {
	defer seat.Leave()
	generator := diffusion.NewGenerator(image.Recipe.Seed)
	x := make([]float32, image.Shape[0]*image.Shape[1]*image.Shape[2])
	generator.Normal(x)
	c := p.course
	start := float32(c.method.Start(c.spacing, c.levels[0]))
	for i := range x {
		x[i] *= start
	}
	run := p.Model.run(c.levels, generator)
	run.Eta = value(image.Recipe.Eta, 0)
	denoiser := p.Model.denoiser(c.method, p.predictor(image, seat))
	if err := c.method.Sample(ctx, denoiser, x, run); err != nil {
		return err
	}
	image.Tensor = x
	return finite(x)
}
