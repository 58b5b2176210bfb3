package inference

import (
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

const (
	patchSide   = 8
	mostPatches = 10_000 // more make the estimate no better
)

// EstimateSigma estimates the standard deviation of a picture's noise on the 0…255 scale (Chen, Zhu & Heng 2015,
// algorithm 1). Patches of a picture lie near a plane of few dimensions, so the smallest eigenvalues of their covariance
// are the noise's variance alone. The largest are left out one after the other until the mean of the rest is their median
// too, which the noise's scatter around its variance makes it.
//
// A file's range clips the noise where a picture is nearly black or white, so the variance found is less than it was, by
// as much as the patches' means tell: see unclipped.
//
// Patches of all channels together tell noise from texture best. But JPEG and WebP leave colour hardly any noise, and the
// flattest directions are then the colours': where the channels, each judged alone, have twice as much, theirs counts.
//
// A picture too small for the statistics is judged by its finest details, see detailSigma.
func EstimateSigma(picture *Picture) float64 {
	variance := 0.0
	for channel := range picture.Channels {
		sigma, ok := noiseOf(patchesOf(picture, channel, channel+1))
		if !ok {
			return detailSigma(picture)
		}
		variance += sigma * sigma / float64(picture.Channels)
	}
	alone := math.Sqrt(variance)
	if picture.Channels == 1 {
		return maxSigma * alone
	}
	if together, ok := noiseOf(patchesOf(picture, 0, picture.Channels)); ok && 2*together >= alone {
		return maxSigma * together
	}
	return maxSigma * alone
}

// noiseOf is the standard deviation of the noise in patches. It is not ok where they are too few.
func noiseOf(patches *mat.Dense) (sigma float64, ok bool) {
	sigma, ok = flattest(patches)
	if !ok {
		return 0, false
	}
	return unclipped(sigma, patches), true
}

// flattest is the noise's standard deviation by the eigenvalues of the covariance of patches. It is not ok where they are
// too few.
func flattest(patches *mat.Dense) (sigma float64, ok bool) {
	rows, columns := patches.Dims()
	if rows < 4*columns {
		return 0, false
	}
	var covariance mat.SymDense
	stat.CovarianceMatrix(&covariance, patches, nil)
	var eigen mat.EigenSym
	if !eigen.Factorize(&covariance, false) {
		return 0, false
	}
	values := eigen.Values(nil) // ascending
	for rest := values; len(rest) > 1; rest = rest[:len(rest)-1] {
		mean := stat.Mean(rest, nil)
		below, _ := slices.BinarySearch(rest, mean)
		if 2*below >= len(rest)-1 && 2*below <= len(rest)+1 {
			return math.Sqrt(max(mean, 0)), true
		}
	}
	return math.Sqrt(max(values[0], 0)), true
}

// unclipped is the σ of noise that has the standard deviation found, on the average over the patches, once 0 and 1 have
// clipped it.
func unclipped(found float64, patches *mat.Dense) float64 {
	rows, _ := patches.Dims()
	var means []float64
	for i := range rows {
		for channel := range slices.Chunk(patches.RawRowView(i), patchSide*patchSide) {
			means = append(means, stat.Mean(channel, nil))
		}
	}
	low, high := found, min(3*found, 1)
	for range 16 {
		sigma := (low + high) / 2
		if left := clippedVariance(means, sigma); left < found*found {
			low = sigma
		} else {
			high = sigma
		}
	}
	return (low + high) / 2
}

// clippedVariance is the mean variance of noise of standard deviation σ, clipped, where it left the given means. Y, a
// normal Z ~ N(μ, σ²) clipped to 0…1, has with a = −μ/σ and b = (1−μ)/σ
//
//	E[Y]  = μ·(Φ(b)−Φ(a)) + σ·(φ(a)−φ(b)) + 1−Φ(b)
//	E[Y²] = (μ²+σ²)·(Φ(b)−Φ(a)) + σ·(μ·φ(a) − (1+μ)·φ(b)) + 1−Φ(b)
func clippedVariance(means []float64, sigma float64) float64 {
	if sigma == 0 {
		return 0
	}
	const points = 64
	var mean, variance [points + 1]float64 // for μ from 0 to 1
	for i := range mean {
		mu := float64(i) / points
		a, b := distuv.UnitNormal.Prob(-mu/sigma), distuv.UnitNormal.Prob((1-mu)/sigma)
		above := 1 - distuv.UnitNormal.CDF((1-mu)/sigma)
		inside := 1 - above - distuv.UnitNormal.CDF(-mu/sigma)
		mean[i] = mu*inside + sigma*(a-b) + above
		variance[i] = (mu*mu+sigma*sigma)*inside + sigma*(mu*a-(1+mu)*b) + above - mean[i]*mean[i]
	}
	sum := 0.0
	for _, m := range means {
		i := min(max(sort.SearchFloat64s(mean[:], m), 1), points)
		part := min(max((m-mean[i-1])/(mean[i]-mean[i-1]), 0), 1)
		sum += variance[i-1] + part*(variance[i]-variance[i-1])
	}
	return sum / float64(len(means))
}

// patchesOf has a patch of the channels from first on, to the one before last, in each row, spread evenly over the picture.
func patchesOf(p *Picture, first, last int) *mat.Dense {
	size := (last - first) * patchSide * patchSide
	down, across := p.Height-patchSide+1, p.Width-patchSide+1
	if down < 1 || across < 1 {
		return mat.NewDense(1, size, nil)
	}
	stride := 1
	for (down+stride-1)/stride*((across+stride-1)/stride) > mostPatches {
		stride++
	}
	var values []float64
	for top := 0; top < down; top += stride {
		for left := 0; left < across; left += stride {
			for channel := first; channel < last; channel++ {
				for y := top; y < top+patchSide; y++ {
					for _, v := range p.Colours[(channel*p.Height+y)*p.Width+left:][:patchSide] {
						values = append(values, float64(v))
					}
				}
			}
		}
	}
	return mat.NewDense(len(values)/size, size, values)
}

// detailSigma is the median of the absolute values of the finest diagonal wavelet coefficients, over 0.6745 (Donoho &
// Johnstone 1994). In Haar's basis these are (a − b − c + d)/2 over squares of four pixels; edges touch few of them, which
// the median ignores. A picture too small to have any is taken to be clean.
func detailSigma(picture *Picture) float64 {
	var details []float64
	w, h := picture.Width, picture.Height
	for c := range picture.Channels {
		plane := picture.Colours[c*w*h : (c+1)*w*h]
		for y := 0; y+1 < h; y += 2 {
			for x := 0; x+1 < w; x += 2 {
				i := y*w + x
				d := plane[i] - plane[i+1] - plane[i+w] + plane[i+w+1]
				details = append(details, math.Abs(float64(d))/2)
			}
		}
	}
	if len(details) == 0 {
		return 0
	}
	slices.Sort(details)
	return maxSigma * details[len(details)/2] / 0.6745
}
