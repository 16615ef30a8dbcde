// 3x3 convolution of maps in NHWC order by minimal filtering: fewer multiplications than a direct
// convolution, on tiles of the map.
//
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.

#pragma once

#include "norm.h"
#include "onednn.h"

namespace mtln::winograd {

// Whether this is quicker than oneDNN's direct convolution.
bool suits(const onednn::Convolution &shape);

// The norms of a trained network after a convolution: one for each domain of images.
struct Norms {
    std::vector<TrainedNorm> of_domains;
    std::vector<int> domains;  // of every image
    bool relu;
};

// y = norm of x * weight; the bias is in the norms.
void forward(const onednn::Convolution &shape, const float *x, const float *weight,
             const Norms &norms, float *y);
// y = x * weight (+ bias) (+ residual); the last two may be null.
void forward(const onednn::Convolution &shape, const float *x, const float *weight,
             const float *bias, const float *residual, float *y);
void backward_data(const onednn::Convolution &shape, const float *dy, const float *weight,
                   float *dx);
// dbias may be null.
void backward_weights(const onednn::Convolution &shape, const float *dy, const float *x,
                      float *dweight, float *dbias);

}  // namespace mtln::winograd
