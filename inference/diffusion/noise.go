package diffusion

import (
	"math"

	"gonum.org/v1/gonum/mathext/prng"
)

// Generator draws the normal values that torch.randn draws from torch.Generator("cpu").manual_seed(seed), to within
// float32's rounding of the logarithm and the sine. Its course is part of the contract: a seed draws the same picture
// here as in diffusers.
type Generator struct {
	source *prng.MT19937
	// spare is the second value of the last pair that a short draw made: PyTorch keeps it for the next short draw.
	spare    float64
	hasSpare bool
}

// NewGenerator seeds a generator. PyTorch's takes the low 32 bits of a seed only.
func NewGenerator(seed uint32) *Generator {
	source := prng.NewMT19937()
	source.Seed(uint64(seed))
	return &Generator{source: source}
}

// block is how many values the Box-Muller transform makes at a time in PyTorch's vectorised path.
const block = 16

// Normal fills dst as one call of torch.randn(len(dst)) would: the values depend on how a sequence is cut into calls.
func (g *Generator) Normal(dst []float32) {
	if len(dst) < block {
		for i := range dst {
			dst[i] = g.single()
		}
		return
	}
	for i := range dst {
		dst[i] = g.uniform()
	}
	whole := len(dst) - len(dst)%block
	for i := 0; i < whole; i += block {
		boxMuller(dst[i : i+block])
	}
	if whole < len(dst) {
		// A ragged end is drawn again together with the values before it, so that it too fills a block.
		last := dst[len(dst)-block:]
		for i := range last {
			last[i] = g.uniform()
		}
		boxMuller(last)
	}
}

// uniform is a multiple of 2⁻²⁴ in [0, 1).
func (g *Generator) uniform() float32 {
	return float32(g.source.Uint32()&(1<<24-1)) / (1 << 24)
}

// boxMuller turns a block of uniform values into normal ones: the first half gives the radii, the second the angles.
func boxMuller(values []float32) {
	for j := range block / 2 {
		radius := math.Sqrt(-2 * math.Log(1-float64(values[j])))
		sin, cos := math.Sincos(2 * math.Pi * float64(values[j+block/2]))
		values[j], values[j+block/2] = float32(radius*cos), float32(radius*sin)
	}
}

// single is the next value of PyTorch's scalar path, which works in float64 and makes two values at a time.
func (g *Generator) single() float32 {
	if g.hasSpare {
		g.hasSpare = false
		return float32(g.spare)
	}
	angle, u := g.uniform64(), g.uniform64()
	radius := math.Sqrt(-2 * math.Log1p(-u))
	sin, cos := math.Sincos(2 * math.Pi * angle)
	g.spare, g.hasSpare = radius*sin, true
	return float32(radius * cos)
}

// uniform64 is a multiple of 2⁻⁵³ in [0, 1), made of two draws, the high half first.
func (g *Generator) uniform64() float64 {
	high := uint64(g.source.Uint32())
	low := uint64(g.source.Uint32())
	return float64((high<<32|low)&(1<<53-1)) / (1 << 53)
}
