// Notation of the paper: an output tile is m x m pixels, an input tile n x n with n = m + 2, or
// n = 2 m + 1 with stride 2.
//     Y = A^T [(G g G^T) * (B^T d B)] A
// Each of the n * n products of the bracket, for all tiles and channels, is a matrix product:
// (tiles, C_in) times (C_in, C_out). The gradients are the same in other directions:
//     dd: a convolution of dy with the weights turned round and C_in, C_out exchanged; with stride
//         2, B [(G g G^T) * (A dY A^T)] B^T, where tiles overlap,
//     dg = G^T [(B^T d B) * (A dY A^T)] G, where the bracket sums over tiles.
//
// Layouts: transformed maps are n * n planes of (tiles, C); transformed weights n * n planes of
// (C_in, C_out) in panels (see Panels).

#include "winograd.h"

#include "threads.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace mtln::winograd {
namespace {

using onednn::Convolution;

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));

inline Vector load(const float *from) {
    Vector v;
    std::memcpy(&v, from, sizeof(v));
    return v;
}
inline void store(float *to, Vector v) { std::memcpy(to, &v, sizeof(v)); }

template <int rows, int columns>
using Matrix = std::array<std::array<float, columns>, rows>;

// One-dimensional filtering with r taps to m outputs in n = m + r - 1 products: Toom-Cook with the
// points below and infinity.
template <int m, int r>
struct ToomCook {
    static constexpr int n = m + r - 1;
    static constexpr double kPoints[] = {0, 1, -1, n == 6 ? 0.5 : 2, -2};

    // B^T: row j has the coefficients of the product of (x - p_l) over all l but j.
    static constexpr Matrix<n, n> input() {
        Matrix<n, n> found{};
        for (int j = 0; j < n; j++) {
            double polynomial[n + 1] = {1};
            int degree = 0;
            for (int l = 0; l < n - 1; l++) {
                if (l == j) continue;
                for (int i = ++degree; i > 0; i--) {
                    polynomial[i] = polynomial[i - 1] - kPoints[l] * polynomial[i];
                }
                polynomial[0] *= -kPoints[l];
            }
            for (int i = 0; i < n; i++) found[j][i] = static_cast<float>(polynomial[i]);
        }
        return found;
    }

    // G: powers of the points, over what the polynomials of `input` are at their points.
    static constexpr Matrix<n, r> filter() {
        Matrix<n, r> found{};
        for (int j = 0; j < n - 1; j++) {
            double scale = 1;
            for (int l = 0; l < n - 1; l++) {
                if (l != j) scale *= kPoints[j] - kPoints[l];
            }
            double power = 1;
            for (int i = 0; i < r; i++, power *= kPoints[j]) {
                found[j][i] = static_cast<float>(power / scale);
            }
        }
        found[n - 1][r - 1] = 1;
        return found;
    }

    // A^T: powers of the points.
    static constexpr Matrix<m, n> output() {
        Matrix<m, n> found{};
        for (int j = 0; j < n - 1; j++) {
            double power = 1;
            for (int i = 0; i < m; i++, power *= kPoints[j]) found[i][j] = static_cast<float>(power);
        }
        found[m - 1][n - 1] = 1;
        return found;
    }
};

// Three taps with a stride. With stride 2, output o is w_0 s_{2o} + w_1 s_{2o+1} + w_2 s_{2o+2}:
// two taps over the even samples, by Toom-Cook, and one over the odd samples, as it is.
template <int m, int stride>
struct Filtering;

template <int m>
struct Filtering<m, 1> : ToomCook<m, 3> {};

template <int m>
struct Filtering<m, 2> {
    using Even = ToomCook<m, 2>;
    static constexpr int n = Even::n + m;

    static constexpr Matrix<n, n> input() {
        Matrix<n, n> found{};
        for (int j = 0; j < Even::n; j++) {
            for (int i = 0; i < Even::n; i++) found[j][2 * i] = Even::input()[j][i];
        }
        for (int i = 0; i < m; i++) found[Even::n + i][2 * i + 1] = 1;
        return found;
    }

    static constexpr Matrix<n, 3> filter() {
        Matrix<n, 3> found{};
        for (int j = 0; j < Even::n; j++) {
            for (int i = 0; i < 2; i++) found[j][2 * i] = Even::filter()[j][i];
        }
        for (int i = 0; i < m; i++) found[Even::n + i][1] = 1;
        return found;
    }

    static constexpr Matrix<m, n> output() {
        Matrix<m, n> found{};
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < Even::n; j++) found[i][j] = Even::output()[i][j];
            found[i][Even::n + i] = 1;
        }
        return found;
    }
};

template <size_t rows, size_t columns>
constexpr auto transposed(const std::array<std::array<float, columns>, rows> &a) {
    Matrix<columns, rows> found{};
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) found[j][i] = a[i][j];
    }
    return found;
}

// out = T * in * T^T for a vector of channels. `T` is constant, so that zeros cost nothing.
template <typename T, int rows, int columns>
inline __attribute__((always_inline)) void sandwich(const Vector (&in)[columns][columns],
                                                    Vector (&out)[rows][rows]) {
    constexpr Matrix<rows, columns> t = T::value;
    Vector half[rows][columns];
#pragma GCC unroll 9
    for (int c = 0; c < columns; c++) {
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            Vector sum{};
            bool first = true;
#pragma GCC unroll 8
            for (int k = 0; k < columns; k++) {
                if (t[r][k] == 0) continue;
                const Vector term = t[r][k] == 1 ? in[k][c] : t[r][k] * in[k][c];
                sum = first ? term : sum + term;
                first = false;
            }
            half[r][c] = sum;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int c = 0; c < rows; c++) {
            Vector sum{};
            bool first = true;
#pragma GCC unroll 8
            for (int k = 0; k < columns; k++) {
                if (t[c][k] == 0) continue;
                const Vector term = t[c][k] == 1 ? half[r][k] : t[c][k] * half[r][k];
                sum = first ? term : sum + term;
                first = false;
            }
            out[r][c] = sum;
        }
    }
}

// As types, since the matrices have to be constants.
template <typename Tile>
struct InputTransform {
    static constexpr auto value = Tile::input();
};
template <typename Tile>
struct FilterTransform {
    static constexpr auto value = Tile::filter();
};
template <typename Tile>
struct OutputTransform {
    static constexpr auto value = Tile::output();
};
template <typename Tile>
struct InputGradient {
    static constexpr auto value = transposed(Tile::input());
};
template <typename Tile>
struct FilterGradient {
    static constexpr auto value = transposed(Tile::filter());
};
template <typename Tile>
struct OutputGradient {
    static constexpr auto value = transposed(Tile::output());
};

// Columns of the right-hand matrix of a product lie in panels so wide that a row of the panel
// fills the registers: panel after panel, rows of a panel one after the other.
constexpr int64_t kPanel = 2 * kLanes;
inline int64_t panel_width(int64_t column, int64_t columns) {
    return std::min(kPanel, columns - column / kPanel * kPanel);
}
// Where column `column` of row `row` is, for a matrix of `rows` rows.
inline int64_t panel_at(int64_t row, int64_t column, int64_t rows, int64_t columns) {
    const int64_t first = column / kPanel * kPanel;
    return first * rows + row * panel_width(column, columns) + column - first;
}

// C (rows, width * kLanes) = or += A B. Element (i, k) of A is a[i * a_row + k * a_column]; B has
// `depth` rows of one panel.
template <int rows, int width>
inline void product_block(const float *a, int64_t a_row, int64_t a_column, const float *b,
                          int64_t depth, float *c, int64_t c_row, bool add) {
    Vector sum[rows][width];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
        for (int j = 0; j < width; j++) sum[i][j] = Vector{};
    }
    for (int64_t k = 0; k < depth; k++) {
        Vector right[width];
#pragma GCC unroll 2
        for (int j = 0; j < width; j++) right[j] = load(b + (k * width + j) * kLanes);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            const float left = a[i * a_row + k * a_column];
#pragma GCC unroll 2
            for (int j = 0; j < width; j++) sum[i][j] += left * right[j];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
        for (int j = 0; j < width; j++) {
            float *to = c + i * c_row + j * kLanes;
            store(to, add ? load(to) + sum[i][j] : sum[i][j]);
        }
    }
}

template <int width>
void product_panel(const float *a, int64_t a_row, int64_t a_column, const float *b, int64_t rows,
                   int64_t depth, float *c, int64_t c_row, bool add) {
    int64_t i = 0;
    for (; i + 8 <= rows; i += 8) {
        product_block<8, width>(a + i * a_row, a_row, a_column, b, depth, c + i * c_row, c_row, add);
    }
    for (; i + 4 <= rows; i += 4) {
        product_block<4, width>(a + i * a_row, a_row, a_column, b, depth, c + i * c_row, c_row, add);
    }
    for (; i < rows; i++) {
        product_block<1, width>(a + i * a_row, a_row, a_column, b, depth, c + i * c_row, c_row, add);
    }
}

// C (rows, columns) = or += A (rows, depth) B (depth, columns), B in panels.
void product(const float *a, int64_t a_row, int64_t a_column, const float *b, int64_t rows,
             int64_t columns, int64_t depth, float *c, bool add) {
    for (int64_t j = 0; j < columns; j += kPanel) {
        const float *panel = b + j * depth;
        if (panel_width(j, columns) == kPanel) {
            product_panel<2>(a, a_row, a_column, panel, rows, depth, c + j, columns, add);
        } else {
            product_panel<1>(a, a_row, a_column, panel, rows, depth, c + j, columns, add);
        }
    }
}

// A map's size, and the pixels of it that belong to a tile.
struct Map {
    int64_t height, width, channels;
    int64_t step;   // from a tile to the next
    int64_t shift;  // of the first tile's first pixel

    // A pointer to each of size x size pixels; those beyond the map are at `outside`.
    template <int size>
    void pixels(const float *data, int64_t image, int64_t row, int64_t column,
                const float *outside, const float *(&found)[size][size]) const {
        const int64_t y = row * step + shift, x = column * step + shift;
        const int64_t corner = ((image * height + y) * width + x) * channels;
        if (y >= 0 && y + size <= height && x >= 0 && x + size <= width) {
            for (int i = 0; i < size; i++) {
                for (int j = 0; j < size; j++) {
                    found[i][j] = data + corner + (i * width + j) * channels;
                }
            }
            return;
        }
        for (int i = 0; i < size; i++) {
            for (int j = 0; j < size; j++) {
                const bool inside = y + i >= 0 && y + i < height && x + j >= 0 && x + j < width;
                found[i][j] = inside ? data + corner + (i * width + j) * channels : outside;
            }
        }
    }
};

// The tiles of all images, numbered image by image, row by row.
template <int m, int stride>
struct Grid {
    explicit Grid(const Convolution &s)
        : input{s.height, s.width, s.in_channels, m * stride, -1},
          output{s.out_height(), s.out_width(), s.out_channels, m, 0},
          across((s.out_width() + m - 1) / m), of_image((s.out_height() + m - 1) / m * across),
          count(s.images * of_image) {}

    template <int size>
    void pixels(const Map &map, const float *data, int64_t tile, const float *outside,
                const float *(&found)[size][size]) const {
        map.pixels(data, tile / of_image, tile % of_image / across, tile % across, outside, found);
    }

    Map input, output;
    int64_t across, of_image, count;
};

// Planes lie an odd number of cache lines apart: else all of a tile's would share a cache set.
constexpr int64_t plane_size(int64_t rows, int64_t channels) {
    return ((rows * channels + 15) / 16 | 1) * 16;
}

// Transforms `size` x `size` pixels of every tile by T into planes of (tiles, channels), row-major
// or in panels.
template <typename T, int size, int n, bool panels, typename Grid>
void transform_map(const Grid &grid, const Map &map, const float *data, int64_t first,
                   int64_t tiles, float *planes) {
    const int64_t channels = map.channels, plane = plane_size(tiles, channels);
    const std::vector<float> zeros(channels, 0.0F);
    for (int64_t t = 0; t < tiles; t++) {
        const float *from[size][size];
        grid.pixels(map, data, first + t, zeros.data(), from);
        for (int64_t c = 0; c < channels; c += kLanes) {
            Vector in[size][size], out[n][n];
#pragma GCC unroll 9
            for (int i = 0; i < size; i++) {
#pragma GCC unroll 9
                for (int j = 0; j < size; j++) in[i][j] = load(from[i][j] + c);
            }
            sandwich<T>(in, out);
            float *to = planes + (panels ? panel_at(t, c, tiles, channels) : t * channels + c);
#pragma GCC unroll 9
            for (int i = 0; i < n; i++) {
#pragma GCC unroll 9
                for (int j = 0; j < n; j++) store(to + (i * n + j) * plane, out[i][j]);
            }
        }
    }
}

// Transforms the planes of every tile by T into `size` x `size` pixels, and calls
// write(offset of a vector in the map, its channel, its value, tile) for those in the map.
template <typename T, int size, int n, typename Grid, typename Write>
void restore_map(const Grid &grid, const Map &map, const float *data, const float *planes,
                 int64_t first, int64_t tiles, const Write &write) {
    const int64_t channels = map.channels, plane = plane_size(tiles, channels);
    for (int64_t t = 0; t < tiles; t++) {
        const float *to[size][size];
        grid.pixels(map, data, first + t, nullptr, to);
        for (int64_t c = 0; c < channels; c += kLanes) {
            Vector in[n][n], out[size][size];
            const float *from = planes + t * channels + c;
#pragma GCC unroll 9
            for (int i = 0; i < n; i++) {
#pragma GCC unroll 9
                for (int j = 0; j < n; j++) in[i][j] = load(from + (i * n + j) * plane);
            }
            sandwich<T>(in, out);
#pragma GCC unroll 9
            for (int i = 0; i < size; i++) {
#pragma GCC unroll 9
                for (int j = 0; j < size; j++) {
                    if (to[i][j]) write(to[i][j] - data + c, c, out[i][j], first + t);
                }
            }
        }
    }
}

// G g G^T of all weights into planes of (rows, columns) in panels; taps (3, 3, rows, columns).
template <typename Tile, bool turned>
void transform_weights(const float *taps, int64_t rows, int64_t columns, float *planes) {
    constexpr int n = Tile::n;
    const int64_t plane = plane_size(rows, columns);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c += kLanes) {
            Vector in[3][3], out[n][n];
#pragma GCC unroll 8
            for (int i = 0; i < 9; i++) {
                const int tap = turned ? 8 - i : i;
                in[i / 3][i % 3] = load(taps + (tap * rows + r) * columns + c);
            }
            sandwich<FilterTransform<Tile>>(in, out);
            float *to = planes + panel_at(r, c, rows, columns);
#pragma GCC unroll 8
            for (int i = 0; i < n; i++) {
#pragma GCC unroll 8
                for (int j = 0; j < n; j++) store(to + (i * n + j) * plane, out[i][j]);
            }
        }
    }
}

constexpr int64_t kBlockBytes = 512 * 1024;

// Tiles that a thread works on at a time: their planes stay in the second-level cache.
int64_t block_of(int64_t n, int64_t channels) {
    const int64_t most = kBlockBytes / (n * n * channels * static_cast<int64_t>(sizeof(float)));
    return std::max<int64_t>(24, most / 8 * 8);
}

float *buffer(Slot slot, int64_t values) {
    return static_cast<float *>(scratch(slot, values * sizeof(float)));
}

// y = x * taps, or with taps turned round; taps (3, 3, C_in, C_out). Of what comes out, `finish`
// (value, offset in y, channel, image) is what is written.
template <int m, int stride, bool turned, typename Finish>
void convolve(const Convolution &s, const float *x, const float *taps, const Finish &finish,
              float *y) {
    using Tile = Filtering<m, stride>;
    constexpr int n = Tile::n;
    const Grid<m, stride> grid(s);
    const int64_t c_in = s.in_channels, c_out = s.out_channels;
    const int64_t weight_plane = plane_size(c_in, c_out);
    float *weights = buffer(Slot::weights, n * n * weight_plane);
    transform_weights<Tile, turned>(taps, c_in, c_out, weights);
    const int64_t block = block_of(n, c_in + c_out);
    const auto write = [&](int64_t at, int64_t c, Vector value, int64_t tile) {
        store(y + at, finish(value, at, c, tile / grid.of_image));
    };
    parallel(grid.count, block, [&](int64_t begin, int64_t end) {
        float *maps = buffer(Slot::maps, n * n * plane_size(block, c_in));
        float *products = buffer(Slot::products, n * n * plane_size(block, c_out));
        for (int64_t first = begin; first < end; first += block) {
            const int64_t tiles = std::min(block, end - first);
            transform_map<InputTransform<Tile>, n, n, false>(grid, grid.input, x, first, tiles,
                                                             maps);
            for (int i = 0; i < n * n; i++) {
                product(maps + i * plane_size(tiles, c_in), c_in, 1, weights + i * weight_plane,
                        tiles, c_out, c_in, products + i * plane_size(tiles, c_out), false);
            }
            restore_map<OutputTransform<Tile>, m, n>(grid, grid.output, y, products, first, tiles,
                                                     write);
        }
    });
}

// dx of any stride, tile by tile; taps (3, 3, C_out, C_in). Tiles of dx overlap, so that every
// image is one thread's.
template <int m, int stride>
void spread(const Convolution &s, const float *dy, const float *taps, float *dx) {
    using Tile = Filtering<m, stride>;
    constexpr int n = Tile::n;
    const Grid<m, stride> grid(s);
    const int64_t c_in = s.in_channels, c_out = s.out_channels;
    const int64_t weight_plane = plane_size(c_out, c_in), image = s.height * s.width * c_in;
    float *weights = buffer(Slot::weights, n * n * weight_plane);
    transform_weights<Tile, false>(taps, c_out, c_in, weights);
    const int64_t block = block_of(n, c_in + c_out);
    const auto add = [=](int64_t at, int64_t, Vector value, int64_t) {
        store(dx + at, load(dx + at) + value);
    };
    parallel(s.images, std::max<int64_t>(1, block / grid.of_image), [&](int64_t from, int64_t to) {
        float *gradients = buffer(Slot::maps, n * n * plane_size(block, c_out));
        float *products = buffer(Slot::products, n * n * plane_size(block, c_in));
        int64_t cleared = from;
        for (int64_t first = from * grid.of_image; first < to * grid.of_image; first += block) {
            const int64_t tiles = std::min(block, to * grid.of_image - first);
            for (; cleared * grid.of_image < first + tiles; cleared++) {
                std::fill_n(dx + cleared * image, image, 0.0F);
            }
            transform_map<OutputGradient<Tile>, m, n, false>(grid, grid.output, dy, first, tiles,
                                                             gradients);
            for (int i = 0; i < n * n; i++) {
                product(gradients + i * plane_size(tiles, c_out), c_out, 1,
                        weights + i * weight_plane, tiles, c_in, c_out,
                        products + i * plane_size(tiles, c_in), false);
            }
            restore_map<InputGradient<Tile>, n, n>(grid, grid.input, dx, products, first, tiles, add);
        }
    });
}

// Adds to every column what the rows of a plane in panels have there.
void add_columns(const float *plane, int64_t rows, int64_t columns, float *to) {
    for (int64_t c = 0; c < columns; c += kLanes) {
        Vector sum = load(to + c);
        for (int64_t r = 0; r < rows; r++) sum += load(plane + panel_at(r, c, rows, columns));
        store(to + c, sum);
    }
}

// Taps (3, 3, C_in, C_out) of G^T [...] G, from planes of (C_in, C_out).
template <typename Tile>
void write_taps(const float *planes, int64_t rows, int64_t columns, float *taps) {
    constexpr int n = Tile::n;
    const int64_t plane = plane_size(rows, columns);
    for (int64_t at = 0; at < rows * columns; at += kLanes) {
        Vector in[n][n], out[3][3];
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
#pragma GCC unroll 8
            for (int j = 0; j < n; j++) in[i][j] = load(planes + (i * n + j) * plane + at);
        }
        sandwich<FilterGradient<Tile>>(in, out);
#pragma GCC unroll 8
        for (int i = 0; i < 9; i++) store(taps + i * rows * columns + at, out[i / 3][i % 3]);
    }
}

template <int m, int stride>
void gradient(const Convolution &s, const float *dy, const float *x, float *taps, float *dbias) {
    using Tile = Filtering<m, stride>;
    constexpr int n = Tile::n;
    const Grid<m, stride> grid(s);
    const int64_t c_in = s.in_channels, c_out = s.out_channels;
    const int64_t weight_plane = plane_size(c_in, c_out), size = n * n * weight_plane + c_out;
    const int64_t block = block_of(n, c_in + c_out);
    const int parts = static_cast<int>(
        std::clamp<int64_t>(grid.count / block, 1, static_cast<int64_t>(num_threads())));
    float *sums = buffer(Slot::weights, parts * size);
    parallel_parts(parts, [&](int part) {
        float *own = sums + part * size, *own_bias = own + n * n * weight_plane;
        std::fill_n(own_bias, c_out, 0.0F);
        float *maps = buffer(Slot::maps, n * n * plane_size(block, c_in));
        float *gradients = buffer(Slot::products, n * n * plane_size(block, c_out));
        const int64_t begin = grid.count * part / parts, end = grid.count * (part + 1) / parts;
        for (int64_t first = begin; first < end; first += block) {
            const int64_t tiles = std::min(block, end - first);
            transform_map<InputTransform<Tile>, n, n, false>(grid, grid.input, x, first, tiles,
                                                             maps);
            transform_map<OutputGradient<Tile>, m, n, true>(grid, grid.output, dy, first, tiles,
                                                            gradients);
            for (int i = 0; i < n * n; i++) {
                product(maps + i * plane_size(tiles, c_in), 1, c_in,
                        gradients + i * plane_size(tiles, c_out), c_in, c_out, tiles,
                        own + i * weight_plane, first > begin);
            }
            // At the point 1 the transform is the sum of a tile.
            add_columns(gradients + (n + 1) * plane_size(tiles, c_out), tiles, c_out, own_bias);
        }
    });
    for (int part = 1; part < parts; part++) {
        for (int64_t i = 0; i < size; i++) sums[i] += sums[part * size + i];
    }
    write_taps<Tile>(sums, c_in, c_out, taps);
    if (dbias) std::copy_n(sums + n * n * weight_plane, c_out, dbias);
}

// Calls work(m, stride), both as std::integral_constant, for the m that covers a map with the
// fewest products.
template <typename Work>
void with_best_tile(const Convolution &s, const Work &work) {
    const auto products = [&](int64_t m) {
        const int64_t n = s.stride == 1 ? m + 2 : 2 * m + 1;
        return (s.out_height() + m - 1) / m * ((s.out_width() + m - 1) / m) * n * n;
    };
    constexpr std::integral_constant<int, 1> one{};
    constexpr std::integral_constant<int, 2> two{};
    constexpr std::integral_constant<int, 3> three{};
    constexpr std::integral_constant<int, 4> four{};
    if (s.stride == 2) return products(3) <= products(2) ? work(three, two) : work(two, two);
    const int64_t least = std::min({products(2), products(3), products(4)});
    if (products(4) == least) return work(four, one);
    if (products(3) == least) return work(three, one);
    work(two, one);
}

// Brings weights (C_out, C_in, 3, 3) into the order (3, 3, C_in, C_out), or with `turned` into
// (3, 3, C_out, C_in); or, with `back`, taps into the order of weights.
const onednn::Reorder &reorder(const Convolution &s, bool turned, bool back) {
    using Key = std::tuple<int64_t, int64_t, bool, bool>;
    static std::mutex mutex;
    static std::map<Key, onednn::Reorder> reorders;
    const int64_t in = s.in_channels, out = s.out_channels;
    std::lock_guard<std::mutex> lock(mutex);
    const Key key{in, out, turned, back};
    if (const auto found = reorders.find(key); found != reorders.end()) return found->second;
    const auto *weights = onednn::plain(s.weights());
    const auto *taps = onednn::strided(s.weights(), {turned ? in : 1, turned ? 1 : out,
                                                     3 * in * out, in * out});
    return reorders.emplace(key, back ? onednn::Reorder(taps, weights)
                                      : onednn::Reorder(weights, taps)).first->second;
}

float *taps_buffer(const Convolution &s) {
    return buffer(Slot::taps, 9 * s.in_channels * s.out_channels);
}

}  // namespace

bool suits(const Convolution &s) {
    return s.kernel == 3 && s.stride <= 2 && s.in_channels % 16 == 0 && s.out_channels % 16 == 0;
}

void forward(const Convolution &s, const float *x, const float *weight, const float *bias,
             const float *residual, float *y) {
    float *taps = taps_buffer(s);
    reorder(s, false, false).run(weight, taps);
    const auto finish = [=](Vector value, int64_t at, int64_t c, int64_t) {
        if (bias) value += load(bias + c);
        if (residual) value += load(residual + at);
        return value;
    };
    with_best_tile(s, [&](auto m, auto stride) {
        convolve<m, stride, false>(s, x, taps, finish, y);
    });
}

void forward(const Convolution &s, const float *x, const float *weight, const Norms &norms,
             float *y) {
    float *taps = taps_buffer(s);
    reorder(s, false, false).run(weight, taps);
    const auto finish = [&](Vector value, int64_t, int64_t c, int64_t image) {
        const TrainedNorm &norm = norms.of_domains[norms.domains[image]];
        value = value * load(&norm.scale[c]) + load(&norm.shift[c]);
        if (!norms.relu) return value;
        return value < 0 ? Vector{} : value;  // NaN stays NaN
    };
    with_best_tile(s, [&](auto m, auto stride) {
        convolve<m, stride, false>(s, x, taps, finish, y);
    });
}

void backward_data(const Convolution &s, const float *dy, const float *weight, float *dx) {
    float *taps = taps_buffer(s);
    reorder(s, true, false).run(weight, taps);
    Convolution turned = s;
    std::swap(turned.in_channels, turned.out_channels);
    with_best_tile(s, [&](auto m, auto stride) {
        if constexpr (stride == 1) {
            const auto as_it_is = [](Vector value, int64_t, int64_t, int64_t) { return value; };
            convolve<m, stride, true>(turned, dy, taps, as_it_is, dx);
        } else {
            spread<m, stride>(s, dy, taps, dx);
        }
    });
}

void backward_weights(const Convolution &s, const float *dy, const float *x, float *dweight,
                      float *dbias) {
    float *taps = taps_buffer(s);
    with_best_tile(s, [&](auto m, auto stride) { gradient<m, stride>(s, dy, x, taps, dbias); });
    reorder(s, false, true).run(taps, dweight);
}

}  // namespace mtln::winograd
