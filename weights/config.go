package weights

import (
	"encoding/json"
	"strconv"
	"strings"
)

// A network is what unet/config.json says.
type network struct {
	channels, height, width int
	outputs                 int // channels, or twice as many where the network has learned its variance
	classes                 int // 0 when unconditional
}

func (f *folder) readNetwork() (network, error) {
	var n network
	err := f.readJSON(networkFile, func(o *object) {
		n.channels = need[int](o, "in_channels")
		if n.channels != 1 && n.channels != 3 && n.channels != 4 {
			o.fail("in_channels", "%d is not served; served: 1, 3, 4", n.channels)
		}
		n.outputs = need[int](o, "out_channels")
		if n.outputs != n.channels && n.outputs != 2*n.channels {
			o.fail("out_channels", "%d is not served with in_channels %d; served: %d and, for a learned variance, %d",
				n.outputs, n.channels, n.channels, 2*n.channels)
		}
		n.height, n.width = sampleSize(o)
		o.only("class_embed_type", "null")
		if !o.null("num_class_embeds") {
			n.classes = between(o, "num_class_embeds", get(o, "num_class_embeds", 0), 1, 100_000)
		}
	})
	return n, err
}

// sampleSize is an integer for a square and [height, width] for other pictures.
func sampleSize(o *object) (height, width int) {
	const key, most = "sample_size", 4096
	raw, given := o.raw(key)
	var side int
	var size []int
	switch {
	case !given:
		o.fail(key, "is missing")
	case json.Unmarshal(raw, &size) == nil && len(size) == 2:
		return between(o, key, size[0], 1, most), between(o, key, size[1], 1, most)
	case !o.null(key) && json.Unmarshal(raw, &side) == nil:
		side = between(o, key, side, 1, most)
	default:
		o.fail(key, "must be an integer or [height, width], not %s", shorten(raw))
	}
	return side, side
}

// readIndex adds to a bundle that has its scheduler what model_index.json says. A missing file says what an empty one does.
func (f *folder) readIndex(b *Bundle, classes int) error {
	if !f.has(indexFile) {
		o := &object{err: new(error)}
		b.describe(o, classes)
		return *o.err
	}
	return f.readJSON(indexFile, func(o *object) { b.describe(o, classes) })
}

func (b *Bundle) describe(o *object, classes int) {
	b.Class = get(o, "_class_name", "")
	own := o.child("denoised")
	b.NullLabel = nullLabel(own, classes)
	b.Labels = labels(o, classes, b.NullLabel)
	b.ValueRange = valueRange(own)
	b.Scheduler.UseClippedModelOutput = get(own, "use_clipped_model_output", false)
	b.Defaults = b.defaults(own.child("defaults"))
	own.closed()
}

// nullLabel is the last class if anything, so that the others keep their indices.
func nullLabel(o *object, classes int) int {
	const key = "null_label"
	if _, given := o.raw(key); !given {
		return -1
	}
	null := get(o, key, -1)
	switch {
	case classes == 0:
		o.fail(key, "%d is given, but %s has no num_class_embeds", null, networkFile)
	case null != classes-1:
		o.fail(key, "%d is not served with num_class_embeds %d; served: %d, the last", null, classes, classes-1)
	}
	return null
}

// labels gives the classes less the null label their names from id2label, or their indices for names if it is absent.
func labels(o *object, classes, null int) []string {
	const key = "id2label"
	var names map[string]string
	given := !o.null(key)
	if given {
		names = get(o, key, names)
	}
	if classes == 0 {
		if len(names) > 0 {
			o.fail(key, "names %d classes, but %s has no num_class_embeds", len(names), networkFile)
		}
		return nil
	}
	named, rule := classes, "without a null_label"
	if null >= 0 {
		named, rule = classes-1, "less the null_label"
	}
	if given && len(names) != named {
		o.fail(key, "names %d classes; num_class_embeds %d %s asks for %d", len(names), classes, rule, named)
	}
	list := make([]string, named)
	seen := make(map[string]int, named)
	for i := range list {
		list[i] = strconv.Itoa(i)
		if !given {
			continue
		}
		name, found := names[list[i]]
		if !found {
			o.fail(key, "has no name for class %d", i)
		} else if strings.TrimSpace(name) == "" {
			o.fail(key, "has an empty name for class %d", i)
		}
		if before, twice := seen[name]; twice {
			o.fail(key, "names both class %d and class %d %q", before, i, name)
		}
		seen[name], list[i] = i, name
	}
	return list
}

func valueRange(o *object) [2]float64 {
	const key = "value_range"
	raw, given := o.raw(key)
	if !given {
		return [2]float64{-1, 1}
	}
	var limits []*float64 // a null inside would pass for 0 otherwise
	err := json.Unmarshal(raw, &limits)
	if err != nil || len(limits) != 2 || limits[0] == nil || limits[1] == nil || *limits[0] >= *limits[1] {
		o.fail(key, "must be [low, high] with low < high, not %s", shorten(raw))
		return [2]float64{}
	}
	return [2]float64{*limits[0], *limits[1]}
}

func (b *Bundle) defaults(o *object) Defaults {
	d := Defaults{Sampler: get(o, "sampler", b.Scheduler.Sampler)}
	if d.Sampler == "" {
		o.fail("sampler", "is empty")
	}
	// What the pipelines of diffusers draw when they are not told: DDPMPipeline has 1000, the latent consistency pipeline 4.
	usual, most := 50, b.Scheduler.TrainTimesteps
	switch d.Sampler {
	case "ddpm":
		usual = 1000
	case "lcm", "tcd":
		usual, most = 4, b.Scheduler.OriginalSteps
	}
	_, said := o.raw("steps")
	d.StepsImplied = !said
	d.Steps = between(o, "steps", get(o, "steps", min(usual, most)), 1, min(1000, most))
	d.GuidanceScale = between(o, "guidance_scale", get(o, "guidance_scale", 1.0), 0, 30)
	if d.GuidanceScale != 1 && b.NullLabel < 0 {
		o.fail("guidance_scale", "%v needs a null_label", d.GuidanceScale)
	}
	d.GuidanceRescale = between(o, "guidance_rescale", get(o, "guidance_rescale", 0.0), 0, 1)
	if d.GuidanceRescale != 0 && b.NullLabel < 0 {
		o.fail("guidance_rescale", "%v needs a null_label", d.GuidanceRescale)
	}
	o.closed()
	return d
}
