"""Values of the symbolic equality, judged by hand: pairs that are the same, or not, either way round."""

from collections.abc import Iterator

import pytest

from polymode.verifiers.symbolic import SymbolicVerifier

pytest.importorskip("math_verify", reason="the extra `math` is not installed")

SAME = r"""
# typing
10^-3 ¦ 0.001 ‖ 2^-1 ¦ 1/2 ‖ x^-1 ¦ \frac{1}{x} ‖ 3×10⁵ ¦ 3e5 ‖ 6.02e23 ¦ 6.02 \times 10^{23}
6.02E+23 ¦ 602000000000000000000000 ‖ 6.02 x 10^23 ¦ 6.02e23 ‖ 1.6×10⁻¹⁹ ¦ 1.6e-19 ‖ sqrt 2 ¦ \sqrt{2}
sqrt2 ¦ 2^{1/2} ‖ sqrt(2+sqrt(3)) ¦ \sqrt{2+\sqrt{3}} ‖ √12 ¦ 2\sqrt{3} ‖ √(x+1) ¦ (x+1)^(1/2) ‖ ∛8 ¦ 2 ‖ n! ¦ n(n-1)!
n! ¦ n! ‖ 5! ¦ 120 ‖ 5! ¦ $120$ ‖ 3!! ¦ 720 ‖ 0.\overline{3} ¦ 1/3 ‖ 0.\bar{3} ¦ 1/3 ‖ 0.(3) ¦ 1/3 ‖ 0.333... ¦ 1/3
0.1\overline{6} ¦ 1/6 ‖ 0.1666… ¦ 1/6 ‖ 1.\overline{27} ¦ 14/11 ‖ \log_2 8 ¦ 3 ‖ \log_28 ¦ 3 ‖ log_2 8 ¦ 3
log2(8) ¦ 3 ‖ log_2(8) ¦ 3 ‖ log₂ 8 ¦ 3 ‖ log_10(100) ¦ 2 ‖ log_10 1000 ¦ 3 ‖ \tfrac12 ¦ 0.5 ‖ \tfrac{3}{4} ¦ 0.75
\dfrac{3}{4} ¦ 3/4 ‖ \cfrac{3}{4} ¦ 3/4 ‖ １／２ ¦ 0.5 ‖ −5 ¦ -5 ‖ －５ ¦ -5 ‖ x²+1 ¦ x^2+1 ‖ x⁻¹ ¦ 1/x ‖ x^{10} ¦ x^10
50 percent ¦ 0.5 ‖ 50 percent ¦ 50% ‖ 50 per cent ¦ 50\% ‖ 12.5% ¦ 1/8 ‖ \frac12 ¦ ½ ‖ 2½ ¦ 2.5 ‖ ⅝ ¦ 0.625
# markup
**x=3** ¦ x=3 ‖ **x = 3**. ¦ 3 ‖ `x^2` ¦ x² ‖ **73** ¦ 73 ‖ *73* ¦ 73 ‖ __73__ ¦ 73 ‖ $73$. ¦ 73 ‖ \boxed{73} ¦ 73
$\boxed{\frac{1}{2}}$ ¦ 0.5 ‖ Answer: 73 ¦ 73 ‖ **Answer:** 73 ¦ 73 ‖ The answer is 73. ¦ 73 ‖ \(x=5\) ¦ 5
\[ \frac{3}{4} \] ¦ 0.75 ‖ \boxed{\sqrt{\frac{1}{2}}} ¦ \frac{\sqrt{2}}{2} ‖ \text{Evelyn} ¦ Evelyn ‖ \textbf{(B)} ¦ B
\text{(B)} ¦ B ‖ \mathrm{B} ¦ B ‖ \text{yes} ¦ Yes
# units
5\text{ cm} ¦ 5 cm ‖ 5\,\text{cm} ¦ 5 cm ‖ 5~cm ¦ 5cm ‖ 5\ \mathrm{cm} ¦ 5 cm ‖ 5.0 cm ¦ 5 cm ‖ 5 centimeters ¦ 5 cm
\frac{1}{2} cm ¦ 0.5 cm ‖ x = 5 cm ¦ 5 cm ‖ 36 km/h ¦ 36 km/h ‖ 36\text{ km/h} ¦ 36 kilometers per hour
9.8 m/s^2 ¦ 9.8 m/s² ‖ 9.8\ \text{m/s}^2 ¦ 9.8 m/s^2 ‖ 5 cm^2 ¦ 5 cm² ‖ 5 square centimeters ¦ 5 cm^2 ‖ 5 meters ¦ 5 m
5 m ¦ 5m ‖ 20°C ¦ 20 °C ‖ 20 degrees Celsius ¦ 20^\circ C ‖ 30 degrees ¦ 30° ‖ 30^{\circ} ¦ 30°
$30^\circ$ ¦ 30 degrees ‖ sin(30°) ¦ 1/2 ‖ \sin 30^\circ ¦ 0.5 ‖ \frac{\pi}{6} rad ¦ π/6 ‖ 5 dollars ¦ $5
$1,000 ¦ 1000
# sets and sequences
(-∞, 3] ¦ x≤3 ‖ [1,2] ¦ 1<=x<=2 ‖ x>=1 ¦ x≥1 ‖ x ≥ 1 ¦ [1,\infty) ‖ (1,2] ¦ 1<x\le 2 ‖ (2,3) ¦ (2, 3)
(1.5, 2) ¦ (3/2, 2) ‖ (0.5,1,2) ¦ (\frac12,1,2) ‖ 1, 2, 3 ¦ 1,2,3 ‖ \{3,1,2\} ¦ \{1,2,3\} ‖ {1,2} ¦ \{2,1\}
1 or 2 ¦ 2 or 1 ‖ 1 and 2 ¦ 2 and 1 ‖ x=1 or x=2 ¦ x=2 or x=1 ‖ x=1, x=2 ¦ x=2, x=1 ‖ x=1,y=2 ¦ y=2,x=1
x = 2 \text{ or } x = -2 ¦ x=\pm 2 ‖ x = 2\text{ or }x = -2 ¦ ±2 ‖ ±3 ¦ \pm 3 ‖ +-3 ¦ ±3
# words, formulae, ratios
6:8 ¦ 3:4 ‖ 3:4 ¦ 3 : 4 ‖ 10–20 ¦ 10-20 ‖ 10 – 20 ¦ 10-20 ‖ 555-1234 ¦ 555-1234 ‖ H_2O ¦ H2O ‖ H₂O ¦ H2O
\text{H}_2\text{O} ¦ H2O ‖ \ce{H2O} ¦ H2O ‖ CO_2 ¦ CO2 ‖ h2o ¦ H2O ‖ Ca²⁺ ¦ Ca^{2+} ‖ no solution ¦ \emptyset
No solutions ¦ ∅ ‖ \varnothing ¦ \emptyset ‖ all real numbers ¦ \mathbb{R} ‖ ℝ ¦ R
(-\infty,\infty) ¦ all real numbers
# numbers
1/2^98 ¦ 2^-98 ‖ 1/2^98 ¦ 2/2^99 ‖ 2^{100} ¦ 1267650600228229401496703205376 ‖ 10^{50} ¦ 10^50 ‖ 1e400 ¦ 10^{400}
1e-400 ¦ 10^{-400} ‖ 0.333333 ¦ 1/3 ‖ 3.141593 ¦ \pi ‖ 3.14159265 ¦ \pi ‖ 1.414214 ¦ \sqrt2
0.0000003333333 ¦ 1/3000000 ‖ 333333.333 ¦ 1000000/3 ‖ 6.626e-34 ¦ 6.626\times10^{-34}
# algebra
e^-1 ¦ 1/e ‖ e^{-x} ¦ exp(-x) ‖ theta ¦ θ ‖ \theta ¦ θ ‖ 2θ ¦ 2\theta ‖ α+β ¦ β+α ‖ x^(1/2) ¦ sqrt(x)
2^((1+2)*3) ¦ 512 ‖ (x+1)(x-1) ¦ x^2-1 ‖ 3+4i ¦ 4i+3 ‖ 3 + 4 i ¦ 3+4i ‖ i^2 ¦ -1 ‖ 1'000 ¦ 1'000 ‖ -3 1/2 ¦ -3.5
-1/2 ¦ -0.5 ‖ .5 ¦ 0.5 ‖ -.5 ¦ -1/2 ‖ 1 000 000 ¦ 1,000,000 ‖ 1{,}000 ¦ 1000 ‖ 1\,000\,000 ¦ 10^6 ‖ 100 ¦ 10²
A ¦ \text{A} ‖ (A) ¦ A ‖ -x ¦ -1x ‖ abc ¦ abc ‖ x y ¦ yx ‖ 2xy ¦ 2yx ‖ = 5 ¦ 5 ‖ 5, ¦ 5 ‖ 5; ¦ 5 ‖ \sqrt[3]{27} ¦ 3
\frac{x}{2} ¦ x/2 ‖ |x| ¦ \left|x\right| ‖ \left(1,2\right) ¦ (1,2)
\begin{pmatrix}1\\2\end{pmatrix} ¦ \begin{pmatrix}1\\2.0\end{pmatrix} ‖ C(5,2) ¦ C(5,2) ‖ infinity ¦ ∞ ‖ \infty ¦ inf
-\infty ¦ -infinity ‖ 12:30 ¦ 12:30 ‖ 12:30 pm ¦ 12:30 PM ‖ 2024-05-01 ¦ 2024-05-01 ‖ 4 July 1776 ¦ July 4, 1776
x+y=1 ¦ 1=x+y ‖ 2x=4 ¦ 4=2x ‖ \lfloor 2.5\rfloor ¦ 2 ‖ \gcd(4,6) ¦ 2 ‖ 5 \times 10^3 ¦ 5000 ‖ 5*10^3 ¦ 5000
5·10³ ¦ 5000 ‖ 5.00 ¦ 5 ‖ 1.0 ¦ 1 ‖ 100% ¦ 1 ‖ 5 kg m/s ¦ 5 kg·m/s ‖ 10 minutes ¦ 10 min ‖ 3 hours ¦ 3 h
5 ft ¦ 5 feet
# everyday
1/2 ¦ 0.5 ‖ \frac12 ¦ 1/2 ‖ 0.5% ¦ 0.005 ‖ 1,234,567 ¦ 1234567 ‖ 1 000 000 ¦ 1000000 ‖ 1e3 ¦ 1000
1.5 \times 10^{-3} ¦ 0.0015 ‖ 2E5 ¦ 200000 ‖ 3 1/2 ¦ 3.5 ‖ (1,2) ¦ (1,2) ‖ (-\infty, 3] ¦ x \le 3 ‖ {1,2,3} ¦ {3,2,1}
\{1,2\} ¦ \{1,2,2\} ‖ 30^\circ ¦ 30 degrees ‖ $5 ¦ 5 ‖ \text{Answer: } 5 ¦ 5 ‖ \boxed{5} ¦ 5 ‖ y=2x+1 ¦ 2x+1=y
x=\pm 2 ¦ x=2 or x=-2 ‖ 2 \pm \sqrt{3} ¦ 2+\sqrt{3}, 2-\sqrt{3} ‖ 1<x<3 ¦ (1,3) ‖ (x+1)^2 ¦ x^2+2x+1
sin(x)^2+cos(x)^2 ¦ 1 ‖ √8 ¦ 2√2 ‖ 2^{10} ¦ 1024 ‖ ln(e^2) ¦ 2 ‖ \log_{2}8 ¦ 3 ‖ \binom{5}{2} ¦ 10
π/2 ¦ \frac{\pi}{2} ‖ (x+1)^{1000} ¦ (x+1)^{999}(x+1) ‖ 100000! ¦ 99999! \cdot 100000 ‖ \sum_{k=1}^{100} k ¦ 5050
A ¦ a ‖ +5 ¦ 5 ‖ 05 ¦ 5 ‖ 0.1+0.2 ¦ 0.3 ‖ 2x ¦ 2*x ‖ f(x)=2x ¦ 2x ‖ R ¦ \mathbb{R} ‖ \emptyset ¦ no solution
1/3 + 1/6 ¦ 1/2 ‖ $12.50 ¦ 12.5 ‖ 7 \mod 12 ¦ 19 \mod 12 ‖ x=1, y=2 ¦ (1,2) ‖ ½ ¦ 0.5 ‖ 25° ¦ 25^\circ
3×10⁵ ¦ 300000 ‖ １２ ¦ 12
"""

DIFFERENT = r"""
# precision
1/2^98 ¦ 1/2^99 ‖ 1e-20 ¦ 2e-20 ‖ 1e-20 ¦ 0 ‖ 6.63e-34 ¦ 0 ‖ 10^{50} ¦ 10^{50}+1 ‖ 10^50+1 ¦ 10^50 ‖ 1/3 ¦ 0.333
\sqrt{2}\cdot 10^{-20} ¦ \sqrt{3}\cdot 10^{-20} ‖ \pi\cdot10^{-30} ¦ 0 ‖ 1e300 ¦ 2e300 ‖ 1.000001 ¦ 1
1000000.5 ¦ 1000000 ‖ 5.0000000001 ¦ 5 ‖ 0.1249999999 ¦ 1/8 ‖ \pi ¦ 22/7 ‖ \pi ¦ 3.1416 ‖ 2^{-98} ¦ 2^{-99}
\frac{1}{10^{40}} ¦ \frac{2}{10^{40}} ‖ x+10^{-20} ¦ x ‖ x=1e-20 ¦ x=2e-20 ‖ (1e-20,1) ¦ (2e-20,1) ‖ [0,1e-20] ¦ [0,0]
\{1e-20\} ¦ \{0\} ‖ 1e-20x ¦ 2e-20x
# typing
10^-3 ¦ 10-3 ‖ 10^-3 ¦ 7 ‖ x^-1 ¦ x-1 ‖ n! ¦ n ‖ 5! ¦ 5 ‖ 50 percent ¦ 50
# units
5 cm ¦ 5 ‖ 5 cm ¦ 5 m ‖ 5 cm ¦ 5 mc ‖ 5\text{ cm} ¦ 5 ‖ 5 MW ¦ 5 mW ‖ 5 kg ¦ 5 g ‖ 5 cm ¦ 5 cm^2 ‖ 5 m/s ¦ 5 m
36 km/h ¦ 36 m/h ‖ 20°C ¦ 20°F ‖ 20°C ¦ 20 ‖ 30° ¦ 30 ‖ 30^\circ ¦ 30 ‖ 5 dollars ¦ 5 euros
# no mathematics
2024-05-01 ¦ 2018 ‖ 2024-05-01 ¦ 2024-01-05 ‖ 05/01/2024 ¦ 5/2024 ‖ 5/1/2024 ¦ 1/5/2024 ‖ 01.05.2024 ¦ 1.05
10-20 ¦ -10 ‖ 10-20 ¦ 20-10 ‖ 10–20 ¦ -10 ‖ 10-20 km ¦ -10 km ‖ 5-3 ¦ 2 ‖ 555-1234 ¦ -679 ‖ (555) 123-4567 ¦ 555
(555) 123-4567 ¦ 63698 ‖ +1-555-123-4567 ¦ -5244 ‖ 12:30 ¦ 2/5 ‖ 12:30 ¦ 0.4 ‖ 12:30 ¦ 6:15 ‖ 12:30 ¦ 1230 ‖ 3:4 ¦ 4:3
3:4 ¦ 3/4 ‖ 3:4 ¦ 0.75 ‖ 2:1 ¦ 2 ‖ 1:05:00 ¦ 0 ‖ 40° N ¦ 40 ‖ 45°30' ¦ 45 ‖ 5'11" ¦ 5 ‖ H2O ¦ HO2 ‖ H2O ¦ 2HO
CO ¦ Co ‖ CO ¦ OC ‖ CO2 ¦ CO ‖ CO2 ¦ Co2 ‖ C2H4 ¦ CH2 ‖ NaCl ¦ ClNa ‖ O2 ¦ O3 ‖ O2 ¦ 2O ‖ Na+ ¦ Na ‖ Na^+ ¦ Na
Ca^{2+} ¦ Ca^{3+} ‖ 1.2.3 ¦ 0.36 ‖ 1.2.3 ¦ 1.2 ‖ v2.0 ¦ 2.0 ‖ v2 ¦ 2v ‖ x2 ¦ 2x ‖ B12 ¦ 12 ‖ B12 ¦ 12B
# sets and sequences
1,2,3 ¦ 3,2,1 ‖ 1, 2 ¦ 2, 1 ‖ (1,2,3) ¦ (3,2,1) ‖ (1,2) ¦ \{1,2\} ‖ \{1,2\} ¦ (2,1) ‖ {1,2} ¦ (1,2)
1,2,2 ¦ 1,2 ‖ 1,2,3 ¦ 1,2
1,2,3 ¦ 123 ‖ 1,2 ¦ 1.2 ‖ (1,2) ¦ [1,2] ‖ (1,2) ¦ 1.5 ‖ [1,2) ¦ (1,2] ‖ x<3 ¦ x>3 ‖ x=1 ¦ y=1 ‖ x=1,y=2 ¦ x=2,y=1
# words and signs
act ¦ cat ‖ no ¦ on ‖ ab ¦ a ‖ in ¦ n ‖ type 2 ¦ 2 ‖ two ¦ 2 ‖ fifty ¦ 50 ‖ 2 apples ¦ 2 ‖ 2 apples ¦ 2 pears
1 2 ¦ 12 ‖ 1 2 ¦ 3 ‖ A ¦ B ‖ AB ¦ BA ‖ -5 ¦ 5 ‖ −5 ¦ 5 ‖ (-5) ¦ 5 ‖ 1/0 ¦ 10 ‖ 1/0 ¦ 0 ‖ 0/0 ¦ 1 ‖ 0/0 ¦ 0
10^5 ¦ 105 ‖ 2^10 ¦ 210 ‖ 1.5 ¦ 15 ‖ 1,5 ¦ 15 ‖ 3 1/2 ¦ 3/2 ‖ sqrt 2 ¦ 2 ‖ \log_2 8 ¦ 8 ‖ \log_2 8 ¦ \log 8
0.\overline{3} ¦ 0.3 ‖ 0.(3) ¦ 0.3 ‖ \frac12 ¦ 12 ‖ \emptyset ¦ 0 ‖ no solution ¦ 0 ‖ \{0\} ¦ \emptyset
\mathbb{R} ¦ \mathbb{Q} ‖ R ¦ Q ‖ x_1 ¦ x_2 ‖ 2x+1 ¦ 2x ‖ x^2 ¦ 2x ‖ sin(x) ¦ cos(x) ‖ true ¦ false ‖ yes ¦ no
9^{9^{9^9}} ¦ 1 ‖ O- ¦ O+ ‖ C++ ¦ C ‖ 10-2x ¦ 8x ‖ Monday ¦ Mon ‖ 0.333 ¦ 1/3 ‖ 0.33 ¦ 0.333 ‖ 50\% ¦ 50 ‖ 1,2 ¦ 12
[1,2) ¦ [1,2] ‖ (1,2) ¦ (2,1) ‖ \begin{pmatrix}1&2\\3&4\end{pmatrix} ¦ \begin{pmatrix}1&3\\2&4\end{pmatrix}
5 km ¦ 5 m ‖ 5 km ¦ 5 ‖ y=2x+1 ¦ y=2x-1 ‖ x<3 ¦ x\le 3 ‖ \pi ¦ 3.14
# everyday
2024-01-02 ¦ 2021 ‖ C_1 ¦ C_2
"""


def pairs(lines: str) -> list[list[str]]:
    rows = [line for line in lines.strip().splitlines() if not line.startswith("# ")]
    return [pair.split(" ¦ ") for line in rows for pair in line.split(" ‖ ")]


@pytest.fixture(scope="module")
def symbolic() -> Iterator[SymbolicVerifier]:
    verifier = SymbolicVerifier(seconds=20, workers=1)  # generous: the machine may be busy
    yield verifier
    verifier.close()


@pytest.mark.parametrize(("a", "b"), pairs(SAME))
def test_the_same(a: str, b: str, symbolic: SymbolicVerifier) -> None:
    assert symbolic.same(a, b) and symbolic.same(b, a)


@pytest.mark.parametrize(("a", "b"), pairs(DIFFERENT))
def test_not_the_same(a: str, b: str, symbolic: SymbolicVerifier) -> None:
    assert not symbolic.same(a, b) and not symbolic.same(b, a)
