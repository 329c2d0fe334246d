// Exponential and logarithm with the same bits on every machine: only operations that IEEE 754 rounds exactly.
#pragma once

namespace forge::rt {

// e^x for x <= 0, relative error below 4e-16; 0 for x < -700 and for NaN, 1 for x > 0.
double portable_exp(double x);

// ln x for normal x > 0, error below 4e-16 * (1 + |ln x|). Other values have no meaning here (and give no NaN).
double portable_log(double x);

}  // namespace forge::rt
