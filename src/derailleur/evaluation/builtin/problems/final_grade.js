function final_grade(marks){
    let sum = 0;
    let weights = 0;
    for (const [mark, weight] of marks) {
        sum += mark * weight;
        weights += weight;
    }
    return weights === 0 ? 0 : sum / weights;
}
