//! Hyper-rectangles in C order: cropping, pasting and walking them.

/// Number of samples of a shape; `None` when it does not fit a `usize`.
pub fn n_samples(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

/// C-order strides, in samples.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// Calls `row(offset in the array, offset in the block, length)` for each contiguous row of the block.
pub fn rows(shape: &[usize], start: &[usize], count: &[usize], mut row: impl FnMut(usize, usize, usize)) {
    if count.contains(&0) {
        return;
    }
    let Some(last) = shape.len().checked_sub(1) else {
        return row(0, 0, 1);
    };
    let strides = strides(shape);
    let mut index = vec![0; last];
    let mut in_block = 0;
    loop {
        let outer: usize = (0..last).map(|d| (start[d] + index[d]) * strides[d]).sum();
        row(outer + start[last], in_block, count[last]);
        in_block += count[last];
        let mut d = last;
        loop {
            if d == 0 {
                return;
            }
            d -= 1;
            index[d] += 1;
            if index[d] < count[d] {
                break;
            }
            index[d] = 0;
        }
    }
}

/// The samples of `[start, start + count)`.
pub fn crop<T: Copy>(x: &[T], shape: &[usize], start: &[usize], count: &[usize]) -> Vec<T> {
    let mut out = Vec::with_capacity(count.iter().product());
    rows(shape, start, count, |at, _, n| out.extend_from_slice(&x[at..at + n]));
    out
}

/// Copies `block`, of shape `count`, to `[start, start + count)` of `x`.
pub fn paste<T: Copy>(x: &mut [T], shape: &[usize], start: &[usize], block: &[T], count: &[usize]) {
    rows(shape, start, count, |at, from, n| x[at..at + n].copy_from_slice(&block[from..from + n]));
}

/// The samples with dimension `order[d]` in place of dimension `d`; `shape` is what the array has before.
pub fn reordered<T: Copy>(x: &[T], shape: &[usize], order: &[usize]) -> Vec<T> {
    let steps = strides(shape);
    let mut out = Vec::with_capacity(x.len());
    let Some((&last, outer)) = order.split_last() else { return x.to_vec() };
    let count: Vec<usize> = outer.iter().map(|&d| shape[d]).collect();
    for (start, _) in tiles(&count, &vec![1; count.len()]) {
        let at: usize = start.iter().zip(outer).map(|(i, &d)| i * steps[d]).sum();
        out.extend((0..shape[last]).map(|i| x[at + i * steps[last]]));
    }
    out
}

/// The order that undoes an order.
pub fn undone(order: &[usize]) -> Vec<usize> {
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    back
}

/// A part of at most about `n` samples with as even sides as the shape has: halved where it is longest.
pub fn part_shape(shape: &[usize], n: usize) -> Vec<usize> {
    let mut count = shape.to_vec();
    while n_samples(&count).is_some_and(|all| all > n) {
        match (0..count.len()).max_by_key(|&d| count[d]) {
            Some(d) if count[d] > 1 => count[d] = count[d].div_ceil(2),
            _ => break,
        }
    }
    count
}

/// Where each block of `block` samples begins, in C order, and how large it is at the array's edge.
pub fn grid(shape: &[usize], block: &[usize]) -> Vec<(Vec<usize>, Vec<usize>)> {
    tiles(shape, block).collect()
}

/// Like [`grid`], one by one.
pub fn tiles(shape: &[usize], block: &[usize]) -> impl Iterator<Item = (Vec<usize>, Vec<usize>)> {
    let n: Vec<usize> = shape.iter().zip(block).map(|(&s, &b)| s.div_ceil(b.max(1))).collect();
    let total: usize = n.iter().product();
    let steps = strides(&n);
    (0..total).map(move |i| {
        let start: Vec<usize> = (0..n.len()).map(|d| (i / steps[d]) % n[d] * block[d]).collect();
        let count = (0..n.len()).map(|d| block[d].min(shape[d] - start[d])).collect();
        (start, count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crop_then_paste_restores() {
        let shape = [3, 4, 5];
        let x: Vec<u32> = (0..60).collect();
        let mut y = vec![0; 60];
        for (start, count) in grid(&shape, &[2, 3, 4]) {
            paste(&mut y, &shape, &start, &crop(&x, &shape, &start, &count), &count);
        }
        assert_eq!(x, y);
        assert_eq!(crop(&[7], &[], &[], &[]), [7]);
        assert_eq!(grid(&[], &[]).len(), 1);
        assert!(grid(&[0, 3], &[2, 2]).is_empty());
    }

    #[test]
    fn an_order_undone_restores() {
        let x: Vec<u32> = (0..60).collect();
        let y = reordered(&x, &[3, 4, 5], &[2, 0, 1]);
        assert_eq!((y[0], y[1], y[4], y[12]), (0, 5, 20, 1));
        assert_eq!(reordered(&y, &[5, 3, 4], &undone(&[2, 0, 1])), x);
        assert_eq!(reordered(&[7], &[], &[]), [7]);
    }
}
